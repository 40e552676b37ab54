import {
  type ContentId,
  compareUtf8,
  CxvError,
  fromUtf8,
  isSha256,
  parseJsonBytes,
  prettyJsonBytes,
  utf8,
} from '../base/index.ts'
import { hex64, type Xxh64 } from './xxh64.ts'

export interface ManifestRow {
  /** Relative to the repository, `/` separated, as found on disk; `pathProblem` says what is refused. */
  readonly path: string
  readonly size: number
  readonly executable: boolean
  readonly id: ContentId
}

/** A tracked CSV/TSV/Parquet file with a key column. Committed with the data. */
export interface TableDeclaration {
  readonly name: string
  readonly path: string
  readonly key: string
  /**
   * How a key becomes a path of the manifest: `root` joins `pathRoot/key`; `basename` finds the one
   * file of that name; `none`: rows are not tied to files.
   */
  readonly match: 'root' | 'basename' | 'none'
  /** Folder in the repository, `` for its top. Used when match is `root`. */
  readonly pathRoot: string
}

export const MAX_PATH_BYTES = 4096
/** A shard is cut before a path whose XXH64 is a multiple of this, so shards hold 256 rows on average. */
const ROWS_PER_SHARD = 256n
/** Cut here whatever the paths say. A run this long without a cut has odds of e^-8. */
export const MAX_SHARD_ROWS = 2048
/** MAX_SHARD_ROWS rows whose every path byte is escaped. */
export const MAX_SHARD_BYTES = MAX_SHARD_ROWS * (4 * MAX_PATH_BYTES + 100)
const MAX_TABLES = 1000

/** Name of the shard with the first rows: the rows before it cannot be inserted without changing it. */
export const FIRST_SHARD = 'first'
/** Name of the file that lists every shard's first path in order. */
export const SHARD_ORDER = 'order'

const invalid = (message: string): CxvError =>
  new CxvError('FORMAT_INVALID', message, {
    hint: '`cxv fsck` lists what is damaged; a fetch from a remote brings sound history back',
  })

const NOT_A_PATH = /^\/|\/$|\/\/|(?:^|\/)\.{1,2}(?:\/|$)|\u0000/
/** At any depth: a checked-out `x/.git/config` can run programs when its reader runs git in `x`. */
const RESERVED_PART = /(?:^|\/)\.(?:cxv|git)(?:\/|$)/i
const LONE_SURROGATE = /\p{Surrogate}/u

/** Nearly every path there is: none of the rules below can be broken, and nothing needs an escape. */
const PLAIN = '[\\w-][\\w. +-]*(?:/[\\w-][\\w. +-]*)*'
const PLAIN_PATH = new RegExp(`^${PLAIN}$`)

const isPlain = (path: string): boolean => path.length <= MAX_PATH_BYTES && PLAIN_PATH.test(path)

/** Why this text cannot be a path of a manifest, or undefined when it can. */
export function pathProblem(path: string): string | undefined {
  if (isPlain(path)) return undefined
  if (path === '') return 'is empty'
  if (NOT_A_PATH.test(path)) return 'is absolute, or has an empty, `.` or `..` part, or a NUL'
  if (RESERVED_PART.test(path)) return 'has a part `.git` or `.cxv`'
  if (LONE_SURROGATE.test(path)) return 'is not valid Unicode'
  if (path.length * 3 > MAX_PATH_BYTES && Buffer.byteLength(path) > MAX_PATH_BYTES) {
    return `is longer than ${MAX_PATH_BYTES} bytes`
  }
  return undefined
}

const MUST_ESCAPE = /["\\\u0001-\u001f\u007f]/
const MUST_ESCAPE_ALL = /["\\\u0001-\u001f\u007f]/g

/** Quotes, backslashes and ASCII control characters become `\xHH` (two lower-case digits). */
export function escapePath(path: string): string {
  if (!MUST_ESCAPE.test(path)) return path
  return path.replace(MUST_ESCAPE_ALL, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
}

/** @throws FORMAT_INVALID unless the text is exactly what `escapePath` writes for some valid path */
export function unescapePath(text: string): string {
  if (isPlain(text)) return text
  let path = text
  if (MUST_ESCAPE.test(text)) {
    path = text.replace(/\\x([0-9a-f]{2})/g, (_all, hex: string) =>
      String.fromCharCode(parseInt(hex, 16)),
    )
    if (escapePath(path) !== text) throw invalid(`a path is not escaped as it must be: ${text}`)
  }
  const problem = pathProblem(path)
  if (problem !== undefined) throw invalid(`the manifest has a path that ${problem}: ${text}`)
  return path
}

/**
 * One shard: a line `<mode> <size> <sha256>\t<path>\n` per row.
 * @throws Error when a row is not one that a manifest can hold, or rows are not sorted: our own mistake
 */
export function encodeShard(rows: readonly ManifestRow[]): Uint8Array {
  let text = ''
  let last: string | undefined
  for (const { path, size, executable, id } of rows) {
    const problem = pathProblem(path)
    if (problem !== undefined) throw new Error(`path ${problem}: ${path}`)
    if (last !== undefined && compareUtf8(last, path) >= 0) {
      throw new Error(`rows are not sorted by path: ${last} before ${path}`)
    }
    if (!Number.isSafeInteger(size) || size < 0) throw new Error(`bad size of ${path}: ${size}`)
    if (!isSha256(id)) throw new Error(`bad content id of ${path}`)
    text += `${executable ? '100755' : '100644'} ${size} ${id}\t${escapePath(path)}\n`
    last = path
  }
  return utf8(text)
}

/** `100644 ` or `100755 `, the size, a space, the id, a tab, the path. */
const ROW = /^100(?:644|755) (?:0|[1-9][0-9]{0,15}) [0-9a-f]{64}\t.+$/s
const MODE_CHARS = 7
const EXECUTABLE_AT = 3
const ID_CHARS = 64
/** A larger one, which only very long paths make, might exhaust the matcher's own stack. */
const PLAIN_SHARD_MAX = 1 << 20
/** Rows whose paths are plain. */
const PLAIN_SHARD = new RegExp(
  `^(?:100(?:644|755) (?:0|[1-9][0-9]{0,15}) [0-9a-f]{64}\\t${PLAIN}\\n)+$`,
)

/** @throws FORMAT_INVALID unless the bytes are exactly what `encodeShard` writes for some rows */
export function decodeShard(bytes: Uint8Array): readonly ManifestRow[] {
  const text = shardText(bytes)
  const rows: ManifestRow[] = []
  let last: string | undefined
  // One look at the whole text spares nearly every shard four at each of its rows.
  const plain = text.length <= PLAIN_SHARD_MAX && PLAIN_SHARD.test(text)
  for (let at = 0; at < text.length;) {
    const end = text.indexOf('\n', at)
    if (end < 0) throw invalid('a manifest shard does not end with a new line')
    if (!plain && !ROW.test(text.slice(at, end))) {
      throw invalid(`not a row of a manifest: ${text.slice(at, Math.min(end, at + 200))}`)
    }
    const tab = text.indexOf('\t', at)
    const size = Number(text.slice(at + MODE_CHARS, tab - ID_CHARS - 1))
    if (!Number.isSafeInteger(size)) throw invalid(`a manifest has a size of ${size} bytes`)
    const id = text.slice(tab - ID_CHARS, tab) as ContentId
    const executable = text[at + EXECUTABLE_AT] === '7'
    const written = text.slice(tab + 1, end)
    const path = plain && written.length <= MAX_PATH_BYTES ? written : unescapePath(written)
    if (last !== undefined && compareUtf8(last, path) >= 0) {
      throw invalid(`the manifest is not sorted, or has a path twice: ${path}`)
    }
    if (rows.length === MAX_SHARD_ROWS) {
      throw invalid(`a manifest shard has more than ${MAX_SHARD_ROWS} rows`)
    }
    rows.push({ path, size, executable, id })
    last = path
    at = end + 1
  }
  if (rows.length === 0) throw invalid('a manifest shard is empty')
  return rows
}

function shardText(bytes: Uint8Array): string {
  if (bytes.length > MAX_SHARD_BYTES) {
    throw invalid(
      `a manifest shard has ${bytes.length} bytes; at most ${MAX_SHARD_BYTES} are allowed`,
    )
  }
  // The decoder drops a byte order mark, which would make a second encoding of the same rows.
  if (bytes.length > 0 && bytes[0] !== 0x31) throw invalid('not a manifest shard')
  try {
    return fromUtf8(bytes)
  } catch (cause) {
    throw new CxvError('FORMAT_INVALID', 'a manifest shard is not UTF-8', { cause })
  }
}

/** Whether the path begins a shard wherever it stands. */
export const startsShard = (path: string, xxh64: Xxh64): boolean =>
  xxh64.ofText(path) % ROWS_PER_SHARD === 0n

/** End (exclusive) of the shard that begins at `start`. */
export function shardEnd(rows: readonly ManifestRow[], start: number, xxh64: Xxh64): number {
  const limit = Math.min(rows.length, start + MAX_SHARD_ROWS)
  for (let i = start + 1; i < limit; i++) {
    const row = rows[i]
    if (row !== undefined && startsShard(row.path, xxh64)) return i
  }
  return limit
}

/**
 * File names of the shards that begin with these paths: FIRST_SHARD, then 16 hex digits of each path's
 * XXH64. Paths of one hash can be made on purpose: of several shards that would have one name, the second
 * gets `-2` behind it, and so on.
 */
export function shardNames(firstPaths: readonly string[], xxh64: Xxh64): readonly string[] {
  const times = new Map<string, number>()
  return firstPaths.map((path, i) => {
    if (i === 0) return FIRST_SHARD
    const name = hex64(xxh64.ofText(path))
    const nth = (times.get(name) ?? 0) + 1
    times.set(name, nth)
    return nth === 1 ? name : `${name}-${nth}`
  })
}

/** Each shard's first path, escaped, a line each. */
export const encodeShardOrder = (firstPaths: readonly string[]): Uint8Array =>
  utf8(firstPaths.map((path) => `${escapePath(path)}\n`).join(''))

/** @throws FORMAT_INVALID unless the bytes are what `encodeShardOrder` writes for sorted paths */
export function decodeShardOrder(bytes: Uint8Array): readonly string[] {
  let text: string
  try {
    text = fromUtf8(bytes)
  } catch (cause) {
    throw new CxvError('FORMAT_INVALID', 'the order of shards is not UTF-8', { cause })
  }
  const lines = text.split('\n')
  if (lines.pop() !== '' || lines.length === 0 || Buffer.byteLength(text) !== bytes.length) {
    throw invalid('the order of shards is damaged')
  }
  const paths = lines.map(unescapePath)
  paths.forEach((path, i) => {
    const before = paths[i - 1]
    if (before !== undefined && compareUtf8(before, path) >= 0) {
      throw invalid('the order of shards is not sorted')
    }
  })
  return paths
}

/** `dataset.json`: what a commit holds, so that a log need not read its rows. */
export interface DatasetFacts {
  readonly files: number
  readonly bytes: number
}

export const encodeDataset = ({ files, bytes }: DatasetFacts): Uint8Array =>
  prettyJsonBytes({ format: 1, files, bytes })

/** @throws FORMAT_INVALID, or REPO_FORMAT when a newer cxv wrote it */
export function decodeDataset(bytes: Uint8Array): DatasetFacts {
  const value = jsonOf(bytes, 'dataset.json')
  const { format, files, bytes: total } = Object(value) as Readonly<Record<string, unknown>>
  if (typeof format === 'number' && Number.isInteger(format) && format > 1) {
    throw new CxvError('REPO_FORMAT', `a commit has format ${format}; this cxv reads format 1`, {
      hint: 'update cxv',
    })
  }
  const facts = { files: countOf(files), bytes: countOf(total) }
  return onlyEncoding(bytes, encodeDataset(facts), facts, 'dataset.json')
}

/** `tables.json`: the declared tables, sorted by name. */
export const encodeTables = (tables: readonly TableDeclaration[]): Uint8Array =>
  prettyJsonBytes(
    [...tables]
      .sort((a, b) => compareUtf8(a.name, b.name))
      .map(({ name, path, key, match, pathRoot }) => ({ name, path, key, match, pathRoot })),
  )

/** @throws FORMAT_INVALID */
export function decodeTables(bytes: Uint8Array): readonly TableDeclaration[] {
  const value = jsonOf(bytes, 'tables.json')
  if (!Array.isArray(value) || value.length > MAX_TABLES) throw invalid('tables.json is damaged')
  const tables = value.map(tableOf)
  if (new Set(tables.map((table) => table.name)).size !== tables.length) {
    throw invalid('tables.json declares a table twice')
  }
  return onlyEncoding(bytes, encodeTables(tables), tables, 'tables.json')
}

function tableOf(value: unknown): TableDeclaration {
  const { name, path, key, match, pathRoot } = Object(value) as Readonly<Record<string, unknown>>
  if (
    typeof name !== 'string' ||
    typeof path !== 'string' ||
    typeof key !== 'string' ||
    typeof pathRoot !== 'string' ||
    (match !== 'root' && match !== 'basename' && match !== 'none')
  ) {
    throw invalid('tables.json is damaged')
  }
  const problem = pathProblem(path) ?? (pathRoot === '' ? undefined : pathProblem(pathRoot))
  if (problem !== undefined) throw invalid(`tables.json names a path that ${problem}`)
  return { name, path, key, match, pathRoot }
}

function jsonOf(bytes: Uint8Array, what: string): unknown {
  try {
    return parseJsonBytes(bytes)
  } catch (cause) {
    throw new CxvError('FORMAT_INVALID', `${what} is not JSON`, { cause })
  }
}

function countOf(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw invalid('dataset.json is damaged')
}

function onlyEncoding<T>(bytes: Uint8Array, again: Uint8Array, value: T, what: string): T {
  if (Buffer.compare(bytes, again) === 0) return value
  throw invalid(`${what} is not written as cxv writes it`)
}
