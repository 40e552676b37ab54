import { CxvError, formatBytes, printableLine } from '../base/index.ts'
import { openRepository } from '../repo/index.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'ls',
    summary: 'List tracked files of this or another version',
    examples: [
      ['cxv ls images', 'below a folder'],
      ['cxv ls --rev v1.2 --long', 'of a tag, with sizes and content ids'],
    ],
    positionals: [{ name: 'path', describe: 'A folder or a file' }],
    options: {
      rev: {
        type: 'string',
        placeholder: 'REV',
        describe: 'Branch, tag or commit (default: what is staged)',
      },
      long: { type: 'boolean', alias: 'l', describe: 'With size and content id' },
    },
    async run(ctx, args) {
      await using repo = await openRepository(ctx, ctx.cwd)
      const path = args._['path']?.[0]
      const under = path === undefined ? '' : repo.toRepoPath(ctx.cwd, path)
      const rows =
        args.rev === undefined
          ? (await repo.stagedRows()).filter(
              (r) => under === '' || r.path === under || r.path.startsWith(`${under}/`),
            )
          : under === ''
            ? await repo.history.manifest(await repo.history.resolve(args.rev))
            : await repo.history.rowsUnder(await repo.history.resolve(args.rev), under)
      if (rows.length === 0 && under !== '') {
        throw new CxvError('PATH_NOT_FOUND', `nothing is tracked at ${under}`, {
          hint: '`cxv ls` lists all',
        })
      }
      return { long: args.long === true, files: rows }
    },
    *text({ files, long }) {
      for (const { path, size, id } of files) {
        yield long
          ? `${id}  ${formatBytes(size).padStart(10)}  ${printableLine(path)}`
          : printableLine(path)
      }
    },
  }),
)
