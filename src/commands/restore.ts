import { plural } from '../base/index.ts'
import { describeCheckout, openRepository, restorePaths } from '../repo/index.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'restore',
    summary: 'Put files back as they are staged, or as a version has them',
    examples: [
      ['cxv restore images', 'bring back what was deleted'],
      [
        'cxv restore Data_Entry.csv --source v1.2 --force',
        'take it from a tag, over local changes',
      ],
      ['cxv restore --staged images', 'forget what was staged'],
    ],
    positionals: [{ name: 'paths', describe: 'Files or folders', required: true, many: true }],
    options: {
      source: { type: 'string', alias: 's', placeholder: 'REV', describe: 'Branch, tag or commit' },
      staged: { type: 'boolean', describe: 'Forget what is staged; leave the files alone' },
      force: { type: 'boolean', alias: 'f', describe: 'Overwrite changed files' },
    },
    async run(ctx, args) {
      await using repo = await openRepository(ctx, ctx.cwd)
      const paths = (args._['paths'] ?? []).map((p) => repo.toRepoPath(ctx.cwd, p))
      return await restorePaths(ctx, repo, paths, {
        ...(args.source === undefined ? {} : { source: args.source }),
        staged: args.staged === true,
        force: args.force === true,
      })
    },
    *text(r) {
      if (r.unstaged > 0) yield `${plural(r.unstaged, 'change')} no longer staged`
      else yield describeCheckout(r)
    },
  }),
)
