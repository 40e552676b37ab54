import { createHash } from 'node:crypto'
import { extname, join } from 'node:path'
import { type Context, CxvError, startTask } from '../base/index.ts'
import { makeFolder, readFileIfAny, writeFileAtomic } from '../io/index.ts'
import type { ManifestRow, Repository, TableDeclaration } from '../repo/types.ts'
import { globSafe, loadCsv } from './csv.ts'
import { columnUnknown, type Database, quoteName, quoteText } from './duckdb.ts'

export interface TableColumns {
  readonly declaration: TableDeclaration
  readonly columns: readonly string[]
  readonly types: readonly string[]
  readonly rows: number
  /** What was made of a file that is not quite a table, in words. */
  readonly notes: readonly string[]
}

const STEP_ROWS = 256
const MAX_TABLE_BYTES = 1 << 30
/** Columns of `files`, and of a file beside its row. */
const FILE_COLUMNS = ['path', 'folder', 'name', 'extension', 'size', 'id'] as const

/** Name of the view that joins a table to the files its rows are about. */
export const joinedView = (table: string): string => `${table}_files`

/** Creates and fills `files`. */
export async function loadFiles(
  ctx: Context,
  db: Database,
  rows: readonly ManifestRow[],
): Promise<void> {
  await db.run(
    'create table files (path varchar, folder varchar, name varchar, extension varchar, size bigint, id varchar)',
  )
  const task = startTask(ctx, 'table of files', 'rows', rows.length)
  let done = 0
  const cells = function* (): Iterable<readonly (string | number)[]> {
    for (const { path, size, id } of rows) {
      const slash = path.lastIndexOf('/')
      const name = path.slice(slash + 1)
      const extension = extname(name).slice(1).toLowerCase()
      yield [path, slash < 0 ? '' : path.slice(0, slash), name, extension, size, id]
      // The clock is read once for so many rows.
      if (++done % STEP_ROWS === 0) task.advance(STEP_ROWS)
    }
  }
  try {
    await db.append('files', cells())
  } finally {
    task.advance(done % STEP_ROWS)
    task.end()
  }
}

/**
 * Creates and fills a table from the store's bytes, under its own name or another.
 * @throws CxvError TABLE_INVALID, COLUMN_UNKNOWN (the key), CHUNK_MISSING, TOO_LARGE
 */
export async function loadTable(
  db: Database,
  repo: Repository,
  declaration: TableDeclaration,
  row: ManifestRow | undefined,
  as = declaration.name,
): Promise<TableColumns> {
  const { name, path, key } = declaration
  if (row === undefined) {
    throw new CxvError('TABLE_INVALID', `table ${name} is ${path}, which this version lacks`, {
      hint: `\`cxv add ${path}\`, or \`cxv table remove ${name}\``,
      data: { table: name, path },
    })
  }
  const { file, bytes } = await materialiseTable(repo, row)
  let notes: readonly string[] = []
  if (/\.parquet$/i.test(path)) await loadParquet(db, as, file, path)
  else notes = (await loadCsv(db, as, { file, bytes, path }, [key])).notes
  const described = await db.query(`describe ${quoteName(as)}`)
  const columns = described.rows.map((r) => String(r[0]))
  const types = described.rows.map((r) => String(r[1]))
  if (!columns.includes(key)) throw columnUnknown(key, columns)
  const [[count] = []] = (await db.query(`select count(*) from ${quoteName(as)}`)).rows
  return {
    declaration: { ...declaration, name: as },
    columns,
    types,
    rows: Number(count ?? 0),
    notes,
  }
}

async function loadParquet(db: Database, table: string, file: string, path: string): Promise<void> {
  try {
    await db.run(
      `create table ${quoteName(table)} as select * from read_parquet(${quoteText(globSafe(file))})`,
    )
  } catch (cause) {
    throw new CxvError('TABLE_INVALID', `${path} cannot be read as a Parquet file`, {
      hint: 'write it again, `cxv add` it, or declare a CSV',
      data: { path },
      cause,
    })
  }
}

/** The table's bytes, also as a file that DuckDB can read. The file is a cache: damaged, it is written again. */
async function materialiseTable(
  repo: Repository,
  row: ManifestRow,
): Promise<{ readonly file: string; readonly bytes: Uint8Array }> {
  const folder = join(repo.folder, 'cache', 'tables')
  // The path is not ours: of its ending only what tells DuckDB to unpack is kept.
  const file = join(folder, `${row.id}${/\.gz$/i.test(row.path) ? '.gz' : ''}`)
  const cached =
    row.size <= MAX_TABLE_BYTES ? await readFileIfAny(file, MAX_TABLE_BYTES) : undefined
  if (cached !== undefined && createHash('sha256').update(cached).digest('hex') === row.id)
    return { file, bytes: cached }
  const bytes = await (await repo.store()).read(row.id, { maxBytes: MAX_TABLE_BYTES })
  makeFolder(folder)
  writeFileAtomic(file, bytes)
  return { file, bytes }
}

/** SQL that is true where a row of table `t` is about file `f`. */
export function matchCondition({ key, match, pathRoot }: TableDeclaration): string {
  const cell = `cast(t.${quoteName(key)} as varchar)`
  if (match === 'basename') return `f.name = ${cell}`
  const path = pathRoot === '' ? cell : `${quoteText(`${pathRoot}/`)} || ${cell}`
  return `f.path = ${path}`
}

/**
 * SELECT of a table's rows beside their files: its columns, then those of the file by the names it
 * leaves free, alone (`path`) and with `file_` before them.
 * @param more further SELECT terms over `t` and `f`
 */
export function joinSelect(
  { declaration, columns }: Pick<TableColumns, 'declaration' | 'columns'>,
  more: readonly string[] = [],
): string {
  const taken = new Set(columns.map((c) => c.toLowerCase()))
  const extra = [
    ...FILE_COLUMNS.filter((c) => !taken.has(c)).map((c) => `f.${c} as ${c}`),
    ...FILE_COLUMNS.filter((c) => !taken.has(`file_${c}`)).map((c) => `f.${c} as file_${c}`),
    ...more,
  ]
  return `select t.*, ${extra.join(', ')} from ${quoteName(declaration.name)} t join files f on ${matchCondition(declaration)}`
}
