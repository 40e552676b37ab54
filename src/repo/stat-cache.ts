import { compareUtf8, contentId, type ContentId, toHex } from '../base/index.ts'
import type { CacheSpace, StatFacts } from '../store/types.ts'

/** What was true of a file when its bytes were hashed. */
export interface CachedStat extends StatFacts {
  readonly id: ContentId
  /** Milliseconds since 1970 just before the file was read; Infinity: its bytes are known otherwise. */
  readonly checkedAt: number
}

const PREFIX = 's/'
const BYTES = 81
const ID_AT = 49
/** File systems keep time in steps of up to 2 s (FAT): within one step a change may leave no trace. */
const RACY_MS = 2_000

/**
 * Of a file that cxv wrote, with the facts of the descriptor it was written through: the bytes are known from
 * before, however little time has passed. Only where times are fine: else a change by another program within
 * the same step would look the same, and the file is read once.
 */
export const knownAsWritten = (stat: StatFacts, id: ContentId): CachedStat => ({
  ...stat,
  id,
  checkedAt: stat.ctimeNs % 1_000_000n === 0n ? Number(stat.ctimeNs / 1_000_000n) : Infinity,
})

/** Size, times, place and mode: the first bytes of an entry. */
export const FACTS_BYTES = 41
const MODE_AT = 40

/** docs/format.md, "The stage and the stat cache" */
export function encodeFacts(stat: StatFacts, into: Uint8Array, at: number): void {
  const view = new DataView(into.buffer, into.byteOffset + at, FACTS_BYTES)
  view.setFloat64(0, stat.size, true)
  view.setBigInt64(8, stat.mtimeNs, true)
  view.setBigInt64(16, stat.ctimeNs, true)
  view.setBigUint64(24, BigInt.asUintN(64, stat.ino), true)
  view.setBigUint64(32, BigInt.asUintN(64, stat.dev), true)
  view.setUint8(MODE_AT, stat.executable ? 1 : 0)
}

export const sizeOf = (facts: Uint8Array, at: number): number =>
  new DataView(facts.buffer, facts.byteOffset + at, 8).getFloat64(0, true)

export const isExecutable = (facts: Uint8Array, at: number): boolean => facts[at + MODE_AT] === 1

export function decodeFacts(from: Uint8Array, at: number): StatFacts {
  const view = new DataView(from.buffer, from.byteOffset + at, FACTS_BYTES)
  return {
    size: sizeOf(from, at),
    mtimeNs: view.getBigInt64(8, true),
    ctimeNs: view.getBigInt64(16, true),
    ino: view.getBigUint64(24, true),
    dev: view.getBigUint64(32, true),
    executable: isExecutable(from, at),
  }
}

function encode(stat: StatFacts, id: ContentId, checkedAt: number): Uint8Array {
  // From Node's pool: 100,000 arrays of over 64 bytes each would be as many blocks outside the heap.
  const bytes = Buffer.allocUnsafe(BYTES)
  encodeFacts(stat, bytes, 0)
  bytes.writeDoubleLE(checkedAt, 41)
  bytes.write(id, ID_AT, 'hex')
  return bytes
}

function decode(bytes: Uint8Array): CachedStat {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return {
    ...decodeFacts(bytes, 0),
    checkedAt: view.getFloat64(41, true),
    id: contentId(toHex(bytes.subarray(ID_AT))),
  }
}

/** What is remembered of the files of the work tree. */
export interface StatCache {
  /**
   * The id of the file's bytes, if it is as it was when it was hashed, and was hashed late enough after its
   * last change to be sure.
   */
  vouched(path: string, now: StatFacts): ContentId | undefined
  get(path: string): CachedStat | undefined
  has(path: string): boolean
}

export async function readStatCache(space: CacheSpace): Promise<StatCache> {
  const places = new Map<string, number>()
  const block = createStatBlock(1_024)
  for await (const batch of space.entries(PREFIX)) {
    for (const [path, value] of batch) {
      if (value.length !== BYTES) continue
      block.put(places.size, value)
      places.set(path, places.size)
    }
  }
  const scratch = new Uint8Array(FACTS_BYTES)
  return {
    vouched(path, now) {
      const place = places.get(path)
      if (place === undefined) return undefined
      encodeFacts(now, scratch, 0)
      return block.vouched(place, scratch, 0)
    },
    get(path) {
      const place = places.get(path)
      return place === undefined ? undefined : decode(block.bytesAt(place))
    },
    has: (path) => places.has(path),
  }
}

/** What is remembered of the files of these rows. */
export interface RowStats {
  /** As `StatCache.vouched`, of the row at a place and of facts that `encodeFacts` wrote at `at`. */
  vouched(place: number, facts: Uint8Array, at: number): ContentId | undefined
}

/** @param rows sorted by path, as the cache is: no path is looked up */
export async function readRowStats(
  space: CacheSpace,
  rows: readonly { readonly path: string }[],
): Promise<RowStats> {
  const block = createStatBlock(rows.length)
  const known = new Uint8Array(rows.length)
  let place = 0
  reading: for await (const batch of space.entries(PREFIX)) {
    for (const [path, value] of batch) {
      if (value.length !== BYTES) continue
      for (; rows[place]?.path !== path; place++) {
        const row = rows[place]
        if (row === undefined) break reading
        if (compareUtf8(row.path, path) > 0) break
      }
      if (rows[place]?.path !== path) continue
      block.put(place, value)
      known[place++] = 1
    }
  }
  return {
    vouched: (at, facts, from) => (known[at] === 1 ? block.vouched(at, facts, from) : undefined),
  }
}

interface StatBlock {
  put(place: number, entry: Uint8Array): void
  bytesAt(place: number): Uint8Array
  vouched(place: number, facts: Uint8Array, from: number): ContentId | undefined
}

/** Entries as bytes in one block: as objects, those of 112,120 files cost 0.3 s of garbage collection. */
function createStatBlock(capacity: number): StatBlock {
  let block = Buffer.allocUnsafe(BYTES * capacity)
  let view = new DataView(block.buffer, block.byteOffset, block.length)
  const nsAt = (at: number): number =>
    view.getInt32(at + 4, true) * 2 ** 32 + view.getUint32(at, true)
  /**
   * Changed so shortly before it was hashed that a later change could look the same. ctime cannot be set
   * back. As numbers, times are off by a quarter of a microsecond at most.
   */
  const isRacy = (at: number): boolean =>
    Math.max(nsAt(at + 8), nsAt(at + 16)) / 1e6 >= view.getFloat64(at + 41, true) - RACY_MS
  return {
    put(place, entry) {
      if ((place + 1) * BYTES > block.length) {
        block = Buffer.concat([block], Math.max(block.length, BYTES) * 2)
        view = new DataView(block.buffer, block.byteOffset, block.length)
      }
      block.set(entry, place * BYTES)
    },
    bytesAt: (place) => block.subarray(place * BYTES, (place + 1) * BYTES),
    vouched(place, facts, from) {
      const at = place * BYTES
      // All but the mode, which is no matter of bytes.
      if (block.compare(facts, from, from + MODE_AT, at, at + MODE_AT) !== 0) return undefined
      if (isRacy(at)) return undefined
      return block.toString('hex', at + ID_AT, at + BYTES) as ContentId
    },
  }
}

export const statChange = (
  path: string,
  entry: CachedStat | undefined,
): readonly [string, Uint8Array | undefined] => [
  PREFIX + path,
  entry === undefined ? undefined : encode(entry, entry.id, entry.checkedAt),
]

/** As `statChange`, of a file that was hashed, without an object for each. */
export const hashedChange = (
  path: string,
  stat: StatFacts,
  id: ContentId,
  checkedAt: number,
): readonly [string, Uint8Array] => [PREFIX + path, encode(stat, id, checkedAt)]
