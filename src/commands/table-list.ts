import { printableLine } from '../base/index.ts'
import { openRepository } from '../repo/index.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'table list',
    summary: 'List declared tables of this or another version',
    options: {
      rev: {
        type: 'string',
        placeholder: 'REV',
        describe: 'Branch, tag or commit (default: as staged)',
      },
    },
    async run(ctx, args) {
      await using repo = await openRepository(ctx, ctx.cwd)
      const tables =
        args.rev === undefined
          ? (await repo.config()).tables
          : (await repo.history.read(await repo.history.resolve(args.rev))).tables
      return { tables }
    },
    *text({ tables }, style) {
      if (tables.length === 0)
        yield 'no tables: `cxv table add NAME FILE --key COLUMN` declares one'
      for (const t of tables) {
        const how =
          t.match === 'none'
            ? 'not tied to files'
            : t.match === 'basename'
              ? 'files by name'
              : `files under ${printableLine(t.pathRoot)}/`
        yield `${style.bold(t.name)}  ${printableLine(t.path)}  key "${printableLine(t.key)}"  ${how}`
      }
    },
  }),
)
