import type {
  DuckDBConnection,
  DuckDBExtractedStatements,
  DuckDBInstance,
  DuckDBPreparedStatement,
  DuckDBResultReader,
} from '@duckdb/node-api'
import { type Context, CxvError, nearest, startTask, type Task } from '../base/index.ts'

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
  /** For our own statements. */
  run(sql: string): Promise<void>
  /** @throws CxvError SQL_FAILED also for statements that ask nothing (PRAGMA, SET, COPY, ...) */
  query(sql: string, limit?: number): Promise<QueryResult>
  /** Appends text, number or null cells to a table. */
  append(table: string, rows: Iterable<readonly (string | number | null)[]>): Promise<void>
  /** From here on no statement can touch a file, the network, an extension or a setting. */
  lock(): Promise<void>
  close(): void
}

const MEMORY_LIMIT = '400MB'
const INTERRUPT_EVERY_MS = 20
/** A statement that takes longer is shown as a task. */
const TELL_EVERY_MS = 1000

/**
 * Opens a database that loads no extension by itself. User SQL must run only after `lock()`.
 * @param ctx its signal aborts the statement that runs; it is told of one that takes over a second
 */
export async function openDatabase(ctx: Context): Promise<Database> {
  const { DuckDBInstance, StatementType } = await import('@duckdb/node-api')
  const instance: DuckDBInstance = await DuckDBInstance.create(':memory:', {
    memory_limit: MEMORY_LIMIT,
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    allow_community_extensions: 'false',
    preserve_insertion_order: 'true',
  })
  const connection: DuckDBConnection = await instance.connect()
  await connection.run(`set temp_directory = ''`)
  // Not printed first: DuckDB's own bar goes to stdout.
  await connection.run('set enable_progress_bar_print = false')
  await connection.run('set progress_bar_time = 0')
  await connection.run('set enable_progress_bar = true')
  const { signal } = ctx
  const guarded = async <T>(call: () => Promise<T>): Promise<T> => {
    signal.throwIfAborted()
    let timer: NodeJS.Timeout | undefined
    // An interrupt that comes before the statement has started is lost: it is sent until one counts.
    const interrupt = (): void => {
      timer = setInterval(() => connection.interrupt(), INTERRUPT_EVERY_MS)
    }
    signal.addEventListener('abort', interrupt)
    const watch = watchStatement(ctx, connection)
    try {
      return await call()
    } catch (error) {
      signal.throwIfAborted()
      throw sqlError(error)
    } finally {
      watch.end()
      clearInterval(timer)
      signal.removeEventListener('abort', interrupt)
    }
  }
  // CREATE comes out of PIVOT, which makes a type before it selects. PRAGMA may write to stdout.
  const questions = new Set([StatementType.SELECT, StatementType.EXPLAIN, StatementType.CREATE])
  /** Runs all statements but the last, which is given back. */
  const prepare = async (sql: string): Promise<DuckDBPreparedStatement> => {
    const statements = await extract(connection, sql)
    for (let i = 0; ; i++) {
      const statement = await statements.prepare(i)
      if (!questions.has(statement.statementType)) throw notAQuestion()
      if (i === statements.count - 1) return statement
      if (statement.statementType !== StatementType.CREATE) throw severalQuestions()
      await statement.run()
    }
  }
  return {
    async run(sql) {
      await guarded(() => connection.run(sql))
    },
    async query(sql, limit = Number.MAX_SAFE_INTEGER) {
      const reader = await guarded(async (): Promise<DuckDBResultReader> => {
        const statement = await prepare(sql)
        return limit === Number.MAX_SAFE_INTEGER
          ? statement.runAndReadAll()
          : statement.streamAndReadUntil(limit + 1)
      })
      const rows = reader.getRowsJson()
      const types = reader.columnTypes().map(String)
      return {
        columns: reader.columnNames(),
        types,
        rows: rows
          .slice(0, limit)
          .map((row) => row.map((cell, i) => plainCell(cell, types[i] ?? ''))),
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

/** Tells how far a statement is, every second that it takes: one that is quicker emits nothing. */
function watchStatement(ctx: Context, connection: DuckDBConnection): { readonly end: () => void } {
  let task: Task | undefined
  let told = 0
  const timer = setInterval(() => {
    task ??= startTask(ctx, 'asking the tables', 'rows')
    const { rows_processed: done, total_rows_to_process: total } = connection.progress
    if (total > 0n) task.setTotal(Number(total))
    task.advance(Math.max(0, Number(done) - told))
    told = Math.max(told, Number(done))
  }, TELL_EVERY_MS)
  return {
    end() {
      clearInterval(timer)
      task?.end()
    },
  }
}

/** @throws CxvError SQL_FAILED for text without a statement, at which the binding stumbles */
async function extract(
  connection: DuckDBConnection,
  sql: string,
): Promise<DuckDBExtractedStatements> {
  try {
    const statements = await connection.extractStatements(sql)
    if (statements.count > 0) return statements
  } catch (error) {
    if (!(error as Error).message.includes('native callback')) throw error
  }
  throw notAQuestion()
}

const INTEGER_TYPE = /^(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL\(\d+,0\))$/
const FRACTION_TYPE = /^DECIMAL\(\d+,[1-9]\d*\)$/

/** DuckDB gives large integers as text: they become numbers where a number can hold them. */
function plainCell(cell: unknown, type: string): Cell {
  if (cell === null || typeof cell === 'number' || typeof cell === 'boolean') return cell
  if (typeof cell !== 'string') return JSON.stringify(cell)
  if (FRACTION_TYPE.test(type)) return Number(cell)
  if (!INTEGER_TYPE.test(type)) return cell
  const n = Number(cell)
  return Math.abs(n) <= Number.MAX_SAFE_INTEGER ? n : cell
}

const severalQuestions = (): CxvError =>
  new CxvError('SQL_FAILED', 'one statement at a time can be asked', {
    hint: 'ask them one by one, or join them with UNION ALL or WITH',
  })

const notAQuestion = (): CxvError =>
  new CxvError('SQL_FAILED', 'only questions can be asked here', {
    hint: 'SELECT, WITH, FROM, DESCRIBE, SUMMARIZE, SHOW TABLES, PIVOT or EXPLAIN; data is changed by editing the file and `cxv add`',
  })

/** DuckDB's words as a typed error; a column that is not there gets the nearest one that is. */
function sqlError(error: unknown): CxvError {
  if (error instanceof CxvError) return error
  const text = error instanceof Error ? error.message : String(error)
  const column =
    /Referenced column "(.+?)" (?:was )?not found/s.exec(text)?.[1] ??
    /does not have a column named "(.+?)"/s.exec(text)?.[1]
  if (column !== undefined) {
    const bindings = /Candidate bindings(.*)/.exec(text)?.[1] ?? ''
    const candidates = [...bindings.matchAll(/"([^"]+)"/g)].map((m) => m[1] ?? '')
    return columnUnknown(column, candidates, error)
  }
  const table = /Table with name (.+?) does not exist/s.exec(text)?.[1]
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

/** @param columns those that exist, likeliest first */
export function columnUnknown(
  column: string,
  columns: readonly string[],
  cause?: unknown,
): CxvError {
  const near =
    nearest(column, columns) ??
    columns.find((c) => c.toLowerCase().startsWith(column.toLowerCase()))
  const named = columns.slice(0, 30).map((c) => `"${c}"`)
  return new CxvError('COLUMN_UNKNOWN', `there is no column "${column}"`, {
    hint:
      near !== undefined
        ? `did you mean "${near}"?`
        : named.length > 0
          ? `the columns are ${named.join(', ')}`
          : 'text stands in single quotes, names of columns in double quotes',
    data: { column, columns },
    cause,
  })
}

/** A name as SQL wants it. */
export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`
/** Text as SQL wants it. */
export const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`
