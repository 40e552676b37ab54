import { constants, gunzipSync } from 'node:zlib'
import { CxvError, formatCount, fromUtf8, plural } from '../base/index.ts'
import { type Database, quoteName, quoteText } from './duckdb.ts'

/** What was made of a file that is not quite a table, in words. */
export interface LoadedCsv {
  readonly notes: readonly string[]
}

const MAX_HEADER_BYTES = 1 << 20
const MAX_COLUMNS = 5000
const DELIMITERS = [',', ';', '\t', '|'] as const

export interface CsvHeader {
  readonly delimiter: string
  /** Unique also without regard to case, as SQL needs them. */
  readonly names: readonly string[]
  /** Names that had to be made, in words. */
  readonly notes: readonly string[]
}

/**
 * Reads the first record of a CSV or TSV (RFC 4180 quoting). The separator is the one of `, ; tab |`
 * that occurs most often in it outside quotes; tab when the file is called .tsv. Empty and repeated
 * names are made unique: `column3`, `a_1`.
 * @throws CxvError TABLE_INVALID
 */
export function readHeader(bytes: Uint8Array, path: string): CsvHeader {
  const line = firstRecord(headOf(bytes, path), path)
  const delimiter = /\.(tsv|tab)(\.gz)?$/i.test(path) ? '\t' : commonest(line)
  const cells = splitRecord(line, delimiter)
  if (cells.length > MAX_COLUMNS) {
    throw invalid(path, `its first line has ${formatCount(cells.length)} cells`)
  }
  const notes: string[] = []
  const taken = new Set(cells.map((c) => c.toLowerCase()))
  const seen = new Set<string>()
  const names = cells.map((cell, i) => {
    const unnamed = cell === ''
    let name = unnamed ? `column${i}` : cell
    for (let n = 1; seen.has(name.toLowerCase()) || (unnamed && taken.has(name.toLowerCase())); n++)
      name = `${unnamed ? `column${i}` : cell}_${n}`
    seen.add(name.toLowerCase())
    if (name !== cell)
      notes.push(
        unnamed
          ? `column ${i + 1} has no name: called "${name}"`
          : `a second column is called "${cell}": called "${name}"`,
      )
    return name
  })
  return { delimiter, names, notes }
}

/**
 * Loads a CSV or TSV as a table. Nothing is guessed from a sample: columns come from the first line,
 * and a column gets a type only when every cell of it fits (see `typeOf`). `textColumns` stay text.
 * @param file the bytes on disk, as DuckDB can read them
 * @throws CxvError TABLE_INVALID naming lines that have more cells than the first, bad quotes or bytes that are not UTF-8
 */
export async function loadCsv(
  db: Database,
  table: string,
  source: { readonly file: string; readonly bytes: Uint8Array; readonly path: string },
  textColumns: readonly string[],
): Promise<LoadedCsv> {
  const header = readHeader(source.bytes, source.path)
  const notes = [...header.notes]
  const raw = quoteName(`raw ${table}`)
  const columns = header.names.map((name) => `${quoteName(name)}: 'VARCHAR'`).join(', ')
  const load = (more: string): Promise<void> =>
    db.run(
      `create or replace table ${raw} as select * from read_csv(${quoteText(globSafe(source.file))}, auto_detect = false, header = true, skip = 0, delim = ${quoteText(header.delimiter)}, quote = '"', escape = '"', columns = {${columns}}, ${more})`,
    )
  try {
    await load('store_rejects = true')
    const short = await shortLines(db, source.path, header.names.length)
    if (short !== undefined) {
      // Short lines are filled up; DuckDB does that only when one thread reads.
      await load('null_padding = true, parallel = false')
      notes.push(short)
    }
  } catch (error) {
    if (error instanceof CxvError && error.code !== 'SQL_FAILED') throw error
    const why = (error as Error).message.split('\n').find((l) => !l.includes(source.file)) ?? ''
    throw invalid(source.path, why, error)
  }
  await createTyped(db, table, raw, header.names, textColumns)
  await db.run(`drop table ${raw}`)
  return { notes }
}

/** @returns words for lines with too few cells. @throws CxvError TABLE_INVALID for any other fault */
async function shortLines(db: Database, path: string, width: number): Promise<string | undefined> {
  const { rows: faults } = await db.query(
    `select case error_type when 'MISSING COLUMNS' then 'missing' when 'TOO MANY COLUMNS' then 'many' else lcase(cast(error_type as varchar)) end as fault, count(distinct line) n, list(distinct line order by line)[:5] lines from reject_errors group by 1 order by fault = 'missing', 1`,
  )
  await db.run('drop table reject_errors')
  await db.run('drop table reject_scans')
  const [first] = faults
  if (first === undefined) return undefined
  const [fault, n, list] = first
  const count = Number(n)
  const numbers = (JSON.parse(String(list)) as readonly unknown[]).map(String)
  const lines = `line${count === 1 ? '' : 's'} ${numbers.join(', ')}${count > numbers.length ? ', ...' : ''}`
  const cells = plural(width, 'name')
  switch (fault) {
    case 'missing':
      return `${plural(count, 'row')} with fewer cells than the first line has names (${lines}): the rest is empty`
    case 'many':
      throw invalid(
        path,
        `${lines}: more cells than the ${cells} of the first line; text that holds the separator needs double quotes around it`,
      )
    case 'invalid encoding':
      throw invalid(path, `${lines}: the text is not UTF-8; save the file as UTF-8`)
    default:
      throw invalid(path, `${lines}: ${String(fault)}`)
  }
}

/**
 * The type that fits every cell, else text. Integers written with leading zeros stay text (00000013 is
 * a name, not a number), so do numbers too long to be held exactly. Dates are ISO 8601 only: 01/02/2017
 * could be two days. There is no guessing of truth values: a column of `F` is not "false".
 */
const TYPES = [
  { type: 'BIGINT', fits: (c: string) => `regexp_full_match(${c}, '0|-?[1-9][0-9]{0,17}')` },
  {
    type: 'DOUBLE',
    fits: (c: string) =>
      `regexp_full_match(${c}, '-?(0|[1-9][0-9]{0,14})([.][0-9]+)?([eE][+-]?[0-9]{1,2})?')`,
  },
  {
    type: 'DATE',
    fits: (c: string) =>
      `regexp_full_match(${c}, '[0-9]{4}-[0-9]{2}-[0-9]{2}') and try_cast(${c} as date) is not null`,
  },
  {
    type: 'TIMESTAMP',
    fits: (c: string) =>
      `regexp_full_match(${c}, '[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?') and try_cast(${c} as timestamp) is not null`,
  },
] as const

async function createTyped(
  db: Database,
  table: string,
  raw: string,
  names: readonly string[],
  textColumns: readonly string[],
): Promise<void> {
  const types = new Map<string, string>()
  // A few columns at a time: one question over thousands of columns would not fit in memory.
  for (let at = 0; at < names.length; at += 50) {
    const some = names.slice(at, at + 50).filter((name) => !textColumns.includes(name))
    if (some.length === 0) continue
    const tests = some.flatMap((name) => {
      const c = quoteName(name)
      return TYPES.map(
        ({ fits }) => `coalesce(bool_and(${fits(c)}) filter (where ${c} is not null), false)`,
      )
    })
    const [row = []] = (await db.query(`select ${tests.join(', ')} from ${raw}`)).rows
    for (const [i, name] of some.entries()) {
      const fits = row.slice(i * TYPES.length, (i + 1) * TYPES.length)
      const best = TYPES.find((_t, k) => fits[k] === true)
      if (best !== undefined) types.set(name, best.type)
    }
  }
  const cells = names.map((name) => {
    const column = quoteName(name)
    const type = types.get(name)
    return type === undefined ? column : `cast(${column} as ${type}) as ${column}`
  })
  await db.run(`create table ${quoteName(table)} as select ${cells.join(', ')} from ${raw}`)
}

/** The start of the text, gunzipped when the file is called .gz, without its byte order mark. */
function headOf(bytes: Uint8Array, path: string): string {
  let head = bytes.subarray(0, MAX_HEADER_BYTES)
  if (/\.gz$/i.test(path)) {
    try {
      // What can be unpacked of the first bytes: 1032 times as much at most (RFC 1951).
      head = gunzipSync(head.subarray(0, 1 << 16), { finishFlush: constants.Z_SYNC_FLUSH })
    } catch (cause) {
      throw invalid(path, 'it is not gzip', cause)
    }
  }
  const end = head.lastIndexOf(10)
  const whole = end < 0 ? head : head.subarray(0, end + 1)
  try {
    return fromUtf8(whole).replace(/^\uFEFF/, '')
  } catch {
    // A later line may be the one that is not UTF-8: loading names it.
    return new TextDecoder('latin1').decode(whole).replace(/^\u00EF\u00BB\u00BF/, '')
  }
}

function firstRecord(text: string, path: string): string {
  let quoted = false
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (c === '"') quoted = !quoted
    else if (!quoted && (c === '\n' || c === '\r')) return named(text.slice(0, i), path)
  }
  if (quoted) throw invalid(path, 'a double quote in its first line is never closed')
  return named(text, path)
}

function named(line: string, path: string): string {
  if (line.trim() === '') throw invalid(path, 'its first line is empty')
  return line
}

function commonest(line: string): string {
  const bare = line.replaceAll(/"[^"]*"/g, '')
  let best: string = ','
  let most = 0
  for (const delimiter of DELIMITERS) {
    const n = bare.split(delimiter).length - 1
    if (n > most) {
      best = delimiter
      most = n
    }
  }
  return best
}

function splitRecord(line: string, delimiter: string): readonly string[] {
  const cells: string[] = []
  let cell = ''
  let quoted = false
  for (let i = 0; i < line.length; i++) {
    const c = line[i] ?? ''
    if (quoted && c === '"' && line[i + 1] === '"') {
      cell += c
      i++
    } else if (c === '"') quoted = !quoted
    else if (c === delimiter && !quoted) {
      cells.push(cell)
      cell = ''
    } else cell += c
  }
  cells.push(cell)
  return cells.map((text) => text.trim())
}

/** A file name in which `*`, `?` and `[` stand for themselves. */
export const globSafe = (path: string): string => path.replaceAll(/[*?[]/g, '[$&]')

const invalid = (path: string, why: string, cause?: unknown): CxvError =>
  new CxvError('TABLE_INVALID', `${path} cannot be read as a table: ${why}`, {
    hint: 'the first line holds the names of the columns; every other line a cell for each',
    data: { path },
    cause,
  })

/** A line of CSV without its end (RFC 4180); null is an empty cell. */
export const csvLine = (cells: readonly (string | number | boolean | null)[]): string =>
  cells
    .map((value) => {
      const text = value === null ? '' : String(value)
      return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
    })
    .join(',')
