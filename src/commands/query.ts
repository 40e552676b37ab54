import { CxvError, formatCount, plural, printable } from '../base/index.ts'
import { openRepository } from '../repo/index.ts'
import { csvLine, openTables, type QueryResult } from '../table/index.ts'
import { defineCommand, erase, type TextStyle } from './types.ts'

const DEFAULT_LIMIT = 1000

export const command = erase(
  defineCommand({
    name: 'query',
    summary: 'Ask SQL of the files and tables of this or another version',
    description:
      "Tables: `files` (path, folder, name, extension, size, id), every declared table under its name, and NAME_files, which joins a table to its files. Names with spaces stand in double quotes, text in single quotes. The SQL dialect is DuckDB's; it cannot read or write files.",
    examples: [
      ['cxv query \'select "View Position", count(*) n from labels group by 1\'', ''],
      ["cxv query 'select count(*) from labels' --rev v1.2", 'as it was at a tag'],
    ],
    positionals: [{ name: 'sql', describe: 'One statement', required: true }],
    options: {
      rev: {
        type: 'string',
        placeholder: 'REV',
        describe: 'Branch, tag or commit (default: as staged)',
      },
      limit: {
        type: 'number',
        alias: 'n',
        placeholder: 'N',
        describe: `At most N rows (default ${DEFAULT_LIMIT})`,
      },
      csv: { type: 'boolean', describe: 'Print comma-separated values' },
    },
    async run(ctx, args) {
      await using repo = await openRepository(ctx, ctx.cwd)
      const limit = args.limit ?? DEFAULT_LIMIT
      if (!Number.isInteger(limit) || limit < 1)
        throw new CxvError('USAGE', '--limit needs a whole number above 0')
      const version = args.rev === undefined ? 'stage' : await repo.history.resolve(args.rev)
      const session = await openTables(ctx, repo, version)
      try {
        const result = await session.query(args._['sql']?.[0] ?? '', limit)
        return { ...result, csv: args.csv === true }
      } finally {
        session.close()
      }
    },
    *text(result, style) {
      if (result.csv) yield* [result.columns, ...result.rows].map(csvLine)
      else yield* asTable(result, style)
    },
  }),
)

function* asTable(
  { columns, types, rows, truncated }: QueryResult,
  style: TextStyle,
): Iterable<string> {
  const cells = rows.map((row) =>
    row.map((value) => (value === null ? '-' : printable(String(value)))),
  )
  const widths = columns.map((name, i) =>
    Math.min(60, Math.max(name.length, ...cells.map((row) => row[i]?.length ?? 0))),
  )
  const right = types.map((type) => /INT|DOUBLE|FLOAT|DECIMAL/.test(type))
  const line = (row: readonly string[]): string =>
    row
      .map((text, i) => {
        const width = widths[i] ?? 0
        const cut = text.length > width ? `${text.slice(0, width - 1)}…` : text
        return right[i] === true ? cut.padStart(width) : cut.padEnd(width)
      })
      .join('  ')
      .trimEnd()
  yield style.bold(line(columns))
  for (const row of cells) yield line(row)
  yield style.dim(
    truncated
      ? `the first ${formatCount(rows.length)} rows; --limit shows more`
      : `(${plural(rows.length, 'row')})`,
  )
}
