import { contentId, type ContentId, fromHex, toHex } from '../base/index.ts'
import type { CacheSpace, StatFacts } from '../store/types.ts'

/** What was true of a file when its bytes were hashed. */
export interface CachedStat extends StatFacts {
  readonly id: ContentId
  /** Milliseconds since 1970 just before the file was read; Infinity: its bytes are known otherwise. */
  readonly checkedAt: number
}

const PREFIX = 's/'
const BYTES = 81
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

function encode(entry: CachedStat): Uint8Array {
  // From Node's pool: 100,000 arrays of over 64 bytes each would be as many blocks outside the heap.
  const bytes = Buffer.allocUnsafe(BYTES)
  encodeFacts(entry, bytes, 0)
  new DataView(bytes.buffer, bytes.byteOffset, BYTES).setFloat64(41, entry.checkedAt, true)
  bytes.set(fromHex(entry.id), 49)
  return bytes
}

function decode(bytes: Uint8Array): CachedStat {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return {
    ...decodeFacts(bytes, 0),
    checkedAt: view.getFloat64(41, true),
    id: contentId(toHex(bytes.subarray(49))),
  }
}

/** What is remembered of the files of the work tree. */
export interface StatCache {
  /**
   * The id of the file's bytes, if it is as it was when it was hashed, and was hashed late enough after its
   * last change to be sure.
   */
  vouched(path: string, now: StatFacts): ContentId | undefined
  /** As `vouched`, of facts that `encodeFacts` wrote at `at`. */
  vouchedPacked(path: string, facts: Uint8Array, at: number): ContentId | undefined
  get(path: string): CachedStat | undefined
}

export async function readStatCache(space: CacheSpace): Promise<StatCache> {
  // Entries stay as bytes in one block: as objects, those of 112,120 files cost 0.3 s of garbage collection.
  const places = new Map<string, number>()
  let block = Buffer.allocUnsafe(BYTES * 1024)
  for await (const batch of space.entries(PREFIX)) {
    for (const [key, value] of batch) {
      if (value.length !== BYTES) continue
      const at = places.size * BYTES
      if (at === block.length) block = Buffer.concat([block], block.length * 2)
      block.set(value, at)
      places.set(key.slice(PREFIX.length), at)
    }
  }
  const view = new DataView(block.buffer, block.byteOffset, block.length)
  const nsAt = (at: number): number =>
    view.getInt32(at + 4, true) * 2 ** 32 + view.getUint32(at, true)
  /**
   * Changed so shortly before it was hashed that a later change could look the same. ctime cannot be set
   * back. As numbers, times are off by a quarter of a microsecond at most.
   */
  const isRacy = (at: number): boolean =>
    Math.max(nsAt(at + 8), nsAt(at + 16)) / 1e6 >= view.getFloat64(at + 41, true) - RACY_MS
  const scratch = new Uint8Array(FACTS_BYTES)
  const cache: StatCache = {
    vouched(path, now) {
      encodeFacts(now, scratch, 0)
      return cache.vouchedPacked(path, scratch, 0)
    },
    vouchedPacked(path, facts, from) {
      const at = places.get(path)
      if (at === undefined) return undefined
      // All but the mode, which is no matter of bytes.
      if (block.compare(facts, from, from + MODE_AT, at, at + MODE_AT) !== 0) return undefined
      if (isRacy(at)) return undefined
      return toHex(block.subarray(at + 49, at + BYTES)) as ContentId
    },
    get(path) {
      const at = places.get(path)
      return at === undefined ? undefined : decode(block.subarray(at, at + BYTES))
    },
  }
  return cache
}

export const statChange = (
  path: string,
  entry: CachedStat | undefined,
): readonly [string, Uint8Array | undefined] => [
  PREFIX + path,
  entry === undefined ? undefined : encode(entry),
]
