import { plural } from '../base/index.ts'
import { openRepository, unstagePaths } from '../repo/index.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'rm',
    summary: 'Stop tracking files, and delete them from the work tree',
    description:
      'The next commit no longer holds them. Earlier commits still do. A file whose bytes are not in the current one, or are only staged, is not deleted without --force.',
    examples: [
      ['cxv rm images/00000013_005.png', ''],
      ['cxv rm --cached images', 'keep the files on disk'],
    ],
    positionals: [{ name: 'paths', describe: 'Files or folders', required: true, many: true }],
    options: {
      cached: { type: 'boolean', describe: 'Leave the files on disk' },
      force: {
        type: 'boolean',
        alias: 'f',
        describe: 'Delete files with changes that are not committed',
      },
    },
    async run(ctx, args) {
      await using repo = await openRepository(ctx, ctx.cwd)
      const paths = (args._['paths'] ?? []).map((p) => repo.toRepoPath(ctx.cwd, p))
      return await unstagePaths(ctx, repo, paths, {
        keepFiles: args.cached === true,
        force: args.force === true,
      })
    },
    *text({ removed, deleted }) {
      yield `${plural(removed.length, 'file')} no longer tracked, ${deleted} deleted from disk; \`cxv commit\` records it`
    },
  }),
)
