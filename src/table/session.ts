import { type CommitId, type Context, CxvError, isCxvError, nearest } from '../base/index.ts'
import type { ManifestRow, Repository, TableDeclaration } from '../repo/types.ts'
import {
  columnUnknown,
  type Database,
  openDatabase,
  type QueryResult,
  quoteName,
} from './duckdb.ts'
import { joinedView, joinSelect, loadFiles, loadTable, type TableColumns } from './load.ts'

export type Version = CommitId | 'stage'

/** SQL over the files and tables of one version. Close it. */
export interface TableSession {
  readonly tables: readonly TableColumns[]
  /**
   * One question; abort the context to stop it.
   * @throws CxvError COLUMN_UNKNOWN, TABLE_UNKNOWN with the nearest name, SQL_FAILED
   */
  query(sql: string, limit?: number): Promise<QueryResult>
  /** @throws CxvError TABLE_UNKNOWN with the nearest name; or what kept the table from being loaded */
  table(name: string): TableColumns
  close(): void
}

export interface SessionOptions {
  /** Load just these tables, */
  readonly only?: readonly string[]
  /** and those whose names occur in this SQL. */
  readonly mentionedIn?: string
}

/**
 * Loads `files` and the declared tables of a version from the store (never from the work tree) and
 * locks the session: SQL then has no way to files, network, extensions or settings. A table that
 * cannot be loaded is told as a warning; asking for it throws why.
 */
export async function openTables(
  ctx: Context,
  repo: Repository,
  version: Version,
  options: SessionOptions = {},
): Promise<TableSession> {
  const rows =
    version === 'stage' ? await repo.stagedRows() : await repo.history.manifest(version, { ctx })
  const declarations =
    version === 'stage' ? (await repo.config()).tables : (await repo.history.read(version)).tables
  return openTablesOf(ctx, repo, rows, declarations, options)
}

/** The same for rows and declarations that are not committed yet. */
export async function openTablesOf(
  ctx: Context,
  repo: Repository,
  rows: readonly ManifestRow[],
  declarations: readonly TableDeclaration[],
  options: SessionOptions = {},
): Promise<TableSession> {
  const db = await openDatabase(ctx)
  try {
    await loadFiles(ctx, db, rows)
    const byPath = new Map(rows.map((row) => [row.path, row]))
    const tables: TableColumns[] = []
    const absent = new Map<string, CxvError>()
    const names = new Set(['files'])
    for (const declaration of declarations.filter((d) => isWanted(d.name, options))) {
      ctx.signal.throwIfAborted()
      try {
        takeNames(names, declaration)
        const table = await loadTable(db, repo, declaration, byPath.get(declaration.path))
        if (declaration.match !== 'none')
          await db.run(
            `create view ${quoteName(joinedView(declaration.name))} as ${joinSelect(table)}`,
          )
        tables.push(table)
      } catch (error) {
        if (!isCxvError(error)) throw error
        ctx.signal.throwIfAborted()
        absent.set(declaration.name, error)
        ctx.emit({
          type: 'warn',
          code: error.code,
          message: `table ${declaration.name} is left out: ${error.message}`,
          ...(error.hint === undefined ? {} : { hint: error.hint }),
        })
      }
    }
    await db.lock()
    return sessionOf(
      db,
      tables,
      declarations.map((d) => d.name),
      absent,
    )
  } catch (error) {
    db.close()
    throw error
  }
}

function isWanted(name: string, { only, mentionedIn }: SessionOptions): boolean {
  if (only === undefined || only.includes(name)) return true
  return mentionedIn?.toLowerCase().includes(name.toLowerCase()) ?? false
}

/** SQL does not see case, and every table's view wants a name too. @throws CxvError TABLE_INVALID */
function takeNames(taken: Set<string>, { name }: TableDeclaration): void {
  const wanted = [name, joinedView(name)].map((n) => n.toLowerCase())
  const clash = wanted.find((n) => taken.has(n))
  if (clash !== undefined) {
    throw new CxvError('TABLE_INVALID', `the name ${clash} is taken`, {
      hint: `\`cxv table remove ${name}\`, then add it by another name`,
    })
  }
  for (const n of wanted) taken.add(n)
}

function sessionOf(
  db: Database,
  tables: readonly TableColumns[],
  declared: readonly string[],
  absent: ReadonlyMap<string, CxvError>,
): TableSession {
  const unknown = (name: string, cause?: unknown): CxvError => {
    const withViews = [...declared, ...declared.map(joinedView), 'files']
    const near = nearest(name, withViews)
    return new CxvError('TABLE_UNKNOWN', `there is no table ${name} in this version`, {
      hint:
        near !== undefined
          ? `did you mean ${near}?`
          : declared.length > 0
            ? `the tables are files, ${declared.join(', ')}`
            : '`cxv table add NAME FILE --key COLUMN` declares one, `cxv commit` records it',
      data: { table: name, tables: declared },
      cause,
    })
  }
  const kept = (name: string): CxvError | undefined =>
    [...absent].find(([n]) => [n, joinedView(n)].some((m) => m.toLowerCase() === name))?.[1]
  return {
    tables,
    async query(sql, limit) {
      try {
        return await db.query(sql, limit)
      } catch (error) {
        if (isCxvError(error, 'TABLE_UNKNOWN')) {
          const name = String(error.data['table'])
          throw kept(name.toLowerCase()) ?? unknown(name, error)
        }
        if (isCxvError(error, 'COLUMN_UNKNOWN')) {
          const { column, columns } = error.data
          const near = Array.isArray(columns) ? columns.map(String) : []
          const all = new Set([...near, ...tables.flatMap((t) => t.columns)])
          throw columnUnknown(String(column), [...all], error.cause)
        }
        throw error
      }
    },
    table(name) {
      const found = tables.find((t) => t.declaration.name === name)
      if (found !== undefined) return found
      throw absent.get(name) ?? unknown(name)
    },
    close: () => db.close(),
  }
}

/**
 * Two versions of one table as tables `before` and `after`, for a diff.
 * @throws CxvError TABLE_INVALID, COLUMN_UNKNOWN, CHUNK_MISSING, TOO_LARGE
 */
export async function openTablePair(
  ctx: Context,
  repo: Repository,
  before: { readonly declaration: TableDeclaration; readonly row: ManifestRow } | undefined,
  after: { readonly declaration: TableDeclaration; readonly row: ManifestRow } | undefined,
): Promise<TableSession> {
  const db = await openDatabase(ctx)
  try {
    const tables: TableColumns[] = []
    for (const { as, side } of [
      { as: 'before', side: before },
      { as: 'after', side: after },
    ]) {
      ctx.signal.throwIfAborted()
      if (side !== undefined) tables.push(await loadTable(db, repo, side.declaration, side.row, as))
    }
    await db.lock()
    return sessionOf(db, tables, ['before', 'after'], new Map())
  } catch (error) {
    db.close()
    throw error
  }
}
