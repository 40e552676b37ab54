import { CxvError } from '../base/index.ts'
import { openRepository } from '../repo/index.ts'
import { filePath } from './file-path.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'cat',
    summary: 'Write a tracked file to stdout, of this or another version',
    examples: [['cxv cat Data_Entry.csv --rev HEAD~1 > old.csv', 'the table as it was']],
    positionals: [{ name: 'path', describe: 'A tracked file', required: true }],
    options: {
      rev: {
        type: 'string',
        placeholder: 'REV',
        describe: 'Branch, tag or commit (default: what is staged)',
      },
    },
    async run(ctx, args) {
      const repo = await openRepository(ctx, ctx.cwd)
      const path = filePath(ctx, repo, args._['path']?.[0] ?? '')
      const row =
        args.rev === undefined
          ? await repo.stagedRow(path)
          : (await repo.history.rowsUnder(await repo.history.resolve(args.rev), path)).find(
              (r) => r.path === path,
            )
      if (row === undefined) {
        await repo[Symbol.asyncDispose]()
        throw new CxvError(
          'PATH_NOT_FOUND',
          `${path} is not tracked${args.rev === undefined ? '' : ` at ${args.rev}`}`,
          {
            hint: '`cxv ls` lists what is',
          },
        )
      }
      const store = await repo.store()
      const pieces = async function* (): AsyncIterable<Uint8Array> {
        try {
          yield* store.stream(row.id)
        } finally {
          await repo[Symbol.asyncDispose]()
        }
      }
      return {
        path,
        id: row.id,
        size: row.size,
        toJSON: () => ({ path, id: row.id, size: row.size }),
        pieces,
      }
    },
    raw: (result) => result.pieces(),
    text: () => [],
  }),
)
