import { extname, join } from 'node:path'
import { type CommitId, type Context, CxvError, nearest } from '../base/index.ts'
import { makeFolder, pathExists, writeFileAtomic } from '../io/index.ts'
import type { ManifestRow, Repository, TableDeclaration } from '../repo/types.ts'
import {
  columnUnknown,
  type Database,
  openDatabase,
  type QueryResult,
  quoteName,
  quoteText,
} from './duckdb.ts'

export type Version = CommitId | 'stage'

export interface TableColumns {
  readonly declaration: TableDeclaration
  readonly columns: readonly string[]
  readonly types: readonly string[]
  readonly rows: number
}

/** SQL over the files and tables of one version. Close it. */
export interface TableSession {
  readonly tables: readonly TableColumns[]
  query(sql: string, limit?: number): Promise<QueryResult>
  /** @throws CxvError TABLE_UNKNOWN with the nearest name */
  table(name: string): TableColumns
  close(): void
}

const MAX_TABLE_BYTES = 1 << 30

/** Name of the view that joins a table to the files its rows are about. */
export const joinedView = (table: string): string => `${table}_files`

/**
 * Loads `files` and the declared tables of a version from the store (never from the work tree) and
 * locks the session: SQL then has no way to files, network, extensions or settings.
 * @param options.only load just these tables
 * @throws CxvError CHUNK_MISSING, TABLE_INVALID
 */
export async function openTables(
  ctx: Context,
  repo: Repository,
  version: Version,
  options: { readonly only?: readonly string[] } = {},
): Promise<TableSession> {
  const rows = version === 'stage' ? await repo.stagedRows() : await repo.history.manifest(version)
  const declarations =
    version === 'stage' ? (await repo.config()).tables : (await repo.history.read(version)).tables
  return openTablesOf(
    ctx,
    repo,
    rows,
    declarations.filter((d) => options.only?.includes(d.name) ?? true),
  )
}

/** The same for rows and declarations that are not committed yet. */
export async function openTablesOf(
  ctx: Context,
  repo: Repository,
  rows: readonly ManifestRow[],
  declarations: readonly TableDeclaration[],
): Promise<TableSession> {
  const db = await openDatabase()
  try {
    await loadFiles(db, rows)
    const byPath = new Map(rows.map((row) => [row.path, row]))
    const tables: TableColumns[] = []
    for (const declaration of declarations) {
      ctx.signal.throwIfAborted()
      tables.push(await loadTable(db, repo, declaration, byPath.get(declaration.path)))
    }
    await db.lock()
    return sessionOf(db, tables)
  } catch (error) {
    db.close()
    throw error
  }
}

function sessionOf(db: Database, tables: readonly TableColumns[]): TableSession {
  return {
    tables,
    query: (sql, limit) => db.query(sql, limit),
    table(name) {
      const found = tables.find((t) => t.declaration.name === name)
      if (found !== undefined) return found
      const names = tables.map((t) => t.declaration.name)
      const near = nearest(name, names)
      throw new CxvError('TABLE_UNKNOWN', `there is no table ${name} in this version`, {
        hint:
          near !== undefined
            ? `did you mean ${near}?`
            : names.length > 0
              ? `the tables are ${names.join(', ')}`
              : '`cxv table add NAME FILE --key COLUMN` declares one, `cxv commit` records it',
        data: { table: name, tables: names },
      })
    },
    close: () => db.close(),
  }
}

/** Two versions of one table as tables `before` and `after`, for a diff. */
export async function openTablePair(
  ctx: Context,
  repo: Repository,
  before: { readonly declaration: TableDeclaration; readonly row: ManifestRow } | undefined,
  after: { readonly declaration: TableDeclaration; readonly row: ManifestRow } | undefined,
): Promise<TableSession> {
  const sides = [
    { name: 'before', side: before },
    { name: 'after', side: after },
  ]
  const renamed = sides.flatMap(({ name, side }) =>
    side === undefined
      ? []
      : [
          {
            declaration: { ...side.declaration, name, path: name, match: 'none' as const },
            row: side.row,
          },
        ],
  )
  const db = await openDatabase()
  try {
    const tables: TableColumns[] = []
    for (const { declaration, row } of renamed) {
      ctx.signal.throwIfAborted()
      tables.push(await loadTable(db, repo, declaration, row))
    }
    await db.lock()
    return sessionOf(db, tables)
  } catch (error) {
    db.close()
    throw error
  }
}

async function loadFiles(db: Database, rows: readonly ManifestRow[]): Promise<void> {
  await db.run(
    'create table files (path varchar, folder varchar, name varchar, extension varchar, size bigint, id varchar)',
  )
  const cells = function* (): Iterable<readonly (string | number)[]> {
    for (const { path, size, id } of rows) {
      const slash = path.lastIndexOf('/')
      const name = path.slice(slash + 1)
      yield [
        path,
        slash < 0 ? '' : path.slice(0, slash),
        name,
        extname(name).slice(1).toLowerCase(),
        size,
        id,
      ]
    }
  }
  await db.append('files', cells())
}

async function loadTable(
  db: Database,
  repo: Repository,
  declaration: TableDeclaration,
  row: ManifestRow | undefined,
): Promise<TableColumns> {
  const { name, path, key } = declaration
  if (row === undefined) {
    throw new CxvError(
      'TABLE_INVALID',
      `table ${name} is declared as ${path}, which this version does not hold`,
      {
        hint: `\`cxv add ${path}\`, or \`cxv table remove ${name}\``,
        data: { table: name, path },
      },
    )
  }
  const file = await materialiseTable(repo, row)
  await createFrom(db, declaration, file)
  const described = await db.query(`describe ${quoteName(name)}`)
  const columns = described.rows.map((r) => String(r[0]))
  const types = described.rows.map((r) => String(r[1]))
  if (!columns.includes(key)) throw columnUnknown(key, columns)
  await createJoin(db, declaration, columns)
  const [[count] = []] = (await db.query(`select count(*) from ${quoteName(name)}`)).rows
  return { declaration, columns, types, rows: Number(count ?? 0) }
}

/** The table's bytes as a file DuckDB can read, under its content id: written once, checked by the store. */
async function materialiseTable(repo: Repository, row: ManifestRow): Promise<string> {
  const folder = join(repo.folder, 'cache', 'tables')
  const compressed = row.path.endsWith('.gz') ? '.gz' : ''
  const file = join(
    folder,
    `${row.id}${extname(row.path.slice(0, row.path.length - compressed.length))}${compressed}`,
  )
  if (pathExists(file)) return file
  makeFolder(folder)
  const bytes = await (await repo.store()).read(row.id, { maxBytes: MAX_TABLE_BYTES })
  writeFileAtomic(file, bytes)
  return file
}

/** The key stays text, whatever it looks like; other columns get the type that fits all their cells. */
async function createFrom(
  db: Database,
  { name, path, key }: TableDeclaration,
  file: string,
): Promise<void> {
  const table = quoteName(name)
  if (/\.parquet$/i.test(file)) {
    await db.run(`create table ${table} as select * from read_parquet(${quoteText(file)})`)
    return
  }
  const delimiter = /\.tsv(\.gz)?$/i.test(file) ? `, delim = '\t'` : ''
  const common = `${quoteText(file)}, header = true, sample_size = -1, null_padding = true${delimiter}`
  const load = (extra: string): Promise<void> =>
    db.run(`create or replace table ${table} as select * from read_csv(${common}${extra})`)
  try {
    await load('')
    const described = await db.query(`describe ${table}`)
    const keyRow = described.rows.find((r) => r[0] === key)
    if (keyRow !== undefined && keyRow[1] !== 'VARCHAR')
      await load(`, types = {${quoteText(key)}: 'VARCHAR'}`)
  } catch (error) {
    try {
      await load(', all_varchar = true')
    } catch {
      const why = (error as Error).message.split('\n').find((line) => !line.includes(file)) ?? ''
      throw new CxvError('TABLE_INVALID', `${path} cannot be read as a table: ${why}`, {
        hint: 'the first line must hold the column names; every line the same number of cells',
        cause: error,
      })
    }
  }
}

/** SQL that is true where a row of table `t` is about file `f`. */
export function matchCondition({ key, match, pathRoot }: TableDeclaration): string {
  const cell = `cast(t.${quoteName(key)} as varchar)`
  if (match === 'basename') return `f.name = ${cell}`
  const path = pathRoot === '' ? cell : `${quoteText(`${pathRoot}/`)} || ${cell}`
  return `f.path = ${path}`
}

/** `<table>_files`: the table's columns, then those of its file. A name the table has too gets `file_` before it. */
async function createJoin(
  db: Database,
  declaration: TableDeclaration,
  columns: readonly string[],
): Promise<void> {
  if (declaration.match === 'none') return
  const taken = new Set(columns.map((c) => c.toLowerCase()))
  const own = ['path', 'folder', 'name', 'extension', 'size', 'id']
  const extra = [
    ...own.filter((c) => !taken.has(c)).map((c) => `f.${c} as ${c}`),
    ...own.filter((c) => !taken.has(`file_${c}`)).map((c) => `f.${c} as file_${c}`),
  ]
  const view = quoteName(joinedView(declaration.name))
  await db.run(
    `create view ${view} as select t.*, ${extra.join(', ')} from ${quoteName(declaration.name)} t join files f on ${matchCondition(declaration)}`,
  )
}
