import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import { CxvError, nearest } from '../base/index.ts'

export type Cell = string | number | boolean | null

export interface QueryResult {
  readonly columns: readonly string[]
  /** DuckDB's names: VARCHAR, BIGINT, DOUBLE. */
  readonly types: readonly string[]
  readonly rows: readonly (readonly Cell[])[]
  /** More rows exist than were asked for. */
  readonly truncated: boolean
}

/** An in-memory database of one process. Nothing of it is kept. */
export interface Database {
  run(sql: string): Promise<void>
  query(sql: string, limit?: number): Promise<QueryResult>
  /** Appends text, number or null cells to a table. */
  append(table: string, rows: Iterable<readonly (string | number | null)[]>): Promise<void>
  /** From here on no statement can touch a file, the network, an extension or a setting. */
  lock(): Promise<void>
  close(): void
}

const MEMORY_LIMIT = '400MB'

/** Opens a database that loads no extension by itself. User SQL must run only after `lock()`. */
export async function openDatabase(): Promise<Database> {
  const { DuckDBInstance } = await import('@duckdb/node-api')
  const instance: DuckDBInstance = await DuckDBInstance.create(':memory:', {
    memory_limit: MEMORY_LIMIT,
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    allow_community_extensions: 'false',
    preserve_insertion_order: 'true',
  })
  const connection: DuckDBConnection = await instance.connect()
  await connection.run(`set temp_directory = ''`)
  return {
    async run(sql) {
      await guarded(() => connection.run(sql))
    },
    async query(sql, limit = Number.MAX_SAFE_INTEGER) {
      const reader = await guarded(() =>
        limit === Number.MAX_SAFE_INTEGER
          ? connection.runAndReadAll(sql)
          : connection.streamAndReadUntil(sql, limit + 1),
      )
      const rows = reader.getRowsJson()
      return {
        columns: reader.columnNames(),
        types: reader.columnTypes().map(String),
        rows: rows
          .slice(0, limit)
          .map((row) => row.map((cell, i) => plainCell(cell, String(reader.columnType(i))))),
        truncated: rows.length > limit,
      }
    },
    async append(table, rows) {
      const appender = await connection.createAppender(table)
      for (const row of rows) {
        for (const cell of row) {
          if (cell === null) appender.appendNull()
          else if (typeof cell === 'number') appender.appendBigInt(BigInt(cell))
          else appender.appendVarchar(cell)
        }
        appender.endRow()
      }
      appender.closeSync()
    },
    async lock() {
      await connection.run('set enable_external_access = false')
      await connection.run('set lock_configuration = true')
    },
    close() {
      connection.closeSync()
      instance.closeSync()
    },
  }
}

const INTEGER_TYPE = /^(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL)/

/** DuckDB gives large integers as text: they become numbers where a number can hold them. */
function plainCell(cell: unknown, type: string): Cell {
  if (cell === null || typeof cell === 'number' || typeof cell === 'boolean') return cell
  if (typeof cell === 'string') {
    if (!INTEGER_TYPE.test(type)) return cell
    const n = Number(cell)
    return Math.abs(n) <= Number.MAX_SAFE_INTEGER ? n : cell
  }
  return JSON.stringify(cell)
}

async function guarded<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw sqlError(error)
  }
}

/** DuckDB's words as a typed error; a column that is not there gets the nearest one that is. */
export function sqlError(error: unknown): CxvError {
  const text = error instanceof Error ? error.message : String(error)
  const column = /Referenced column "(.+?)" not found/s.exec(text)?.[1]
  if (column !== undefined) {
    const candidates = [...text.matchAll(/"([^"]+)"/g)]
      .map((m) => m[1] ?? '')
      .filter((c) => c !== column)
    return columnUnknown(column, candidates, error)
  }
  const table = /Table with name (\S+) does not exist/.exec(text)?.[1]
  if (table !== undefined) {
    return new CxvError('TABLE_UNKNOWN', `there is no table ${table}`, {
      hint: '`cxv table list` names them; `files` is always there',
      data: { table },
      cause: error,
    })
  }
  return new CxvError('SQL_FAILED', text.trim(), {
    hint: 'names with spaces stand in double quotes, text in single quotes: "View Position" = \'PA\'',
    cause: error,
  })
}

export function columnUnknown(
  column: string,
  columns: readonly string[],
  cause?: unknown,
): CxvError {
  const near = nearest(column, columns)
  return new CxvError('COLUMN_UNKNOWN', `there is no column "${column}"`, {
    hint:
      near === undefined
        ? `the columns are ${columns
            .slice(0, 30)
            .map((c) => `"${c}"`)
            .join(', ')}`
        : `did you mean "${near}"?`,
    data: { column, columns },
    cause,
  })
}

/** A name as SQL wants it. */
export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`
/** Text as SQL wants it. */
export const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`
