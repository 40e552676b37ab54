import { formatCount, plural, printableLine } from '../base/index.ts'
import { openRepository } from '../repo/index.ts'
import { declareTable } from '../table/index.ts'
import { filePath } from './file-path.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'table add',
    summary: 'Declare a tracked CSV, TSV or Parquet file as a table with a key',
    description:
      'Rows are then queried with `cxv query`, compared by `cxv diff` and joined to images by `cxv run`. The key must name each row once. How keys name files is found out (same path, below one folder, or by unique file name) unless --path-root or --match says it. The next commit records the declaration.',
    examples: [
      ['cxv table add labels Data_Entry.csv --key "Image Index"', ''],
      [
        'cxv table add labels Data_Entry_2017.csv --key "Image Index" --path-root images',
        'images/<Image Index>',
      ],
    ],
    positionals: [
      { name: 'name', describe: 'What the table is called in SQL', required: true },
      { name: 'path', describe: 'The tracked file', required: true },
    ],
    options: {
      key: {
        type: 'string',
        alias: 'k',
        placeholder: 'COLUMN',
        describe: 'Column that names each row once',
        required: true,
      },
      'path-root': {
        type: 'string',
        placeholder: 'DIR',
        describe: 'Folder below which keys are paths',
      },
      match: {
        type: 'string',
        choices: ['root', 'basename', 'none'],
        describe: 'How a key names a file',
      },
    },
    async run(ctx, args) {
      await using repo = await openRepository(ctx, ctx.cwd)
      const root = args['path-root']
      return await declareTable(ctx, repo, {
        name: args._['name']?.[0] ?? '',
        path: filePath(ctx, repo, args._['path']?.[0] ?? ''),
        key: args.key,
        ...(root === undefined ? {} : { pathRoot: repo.toRepoPath(ctx.cwd, root) }),
        ...(args.match === 'root' || args.match === 'basename' || args.match === 'none'
          ? { match: args.match }
          : {}),
      })
    },
    *text(r, style) {
      const { declaration } = r
      yield `table ${style.bold(declaration.name)}: ${printableLine(declaration.path)}, ${plural(r.rows, 'row')}, ${plural(r.columns.length, 'column')}, key "${printableLine(declaration.key)}"`
      yield `columns: ${r.columns.map((c) => `"${printableLine(c)}"`).join(', ')}`
      for (const note of r.notes) yield style.yellow(printableLine(note))
      if (declaration.match === 'none') {
        yield style.yellow(
          'no key names a tracked file: rows are not tied to images (--path-root or --match says how)',
        )
      } else {
        const where =
          declaration.match === 'basename'
            ? 'by file name'
            : declaration.pathRoot === ''
              ? 'by path'
              : `under ${printableLine(declaration.pathRoot)}/`
        yield `${formatCount(r.matchedRows)} of ${plural(r.rows, 'row')} match a tracked file ${where}`
        if (r.rowsWithoutFile.count > 0)
          yield style.yellow(
            `${plural(r.rowsWithoutFile.count, 'row')} without a file: ${examples(r.rowsWithoutFile.examples, r.rowsWithoutFile.count)}`,
          )
        if (r.filesWithoutRow.count > 0)
          yield style.yellow(
            `${plural(r.filesWithoutRow.count, 'file')} without a row: ${examples(r.filesWithoutRow.examples, r.filesWithoutRow.count)}`,
          )
      }
      yield '`cxv commit` records it'
    },
  }),
)

const examples = (list: readonly string[], count: number): string =>
  `${list.map(printableLine).join(', ')}${count > list.length ? ', ...' : ''}`
