import { contentId, type ContentId, fromHex, toHex } from '../base/index.ts'
import type { CacheSpace, StatFacts } from '../store/types.ts'

/** What was true of a file when its bytes were hashed. */
export interface CachedStat extends StatFacts {
  readonly id: ContentId
  /** Milliseconds since 1970 just before the file was read. */
  readonly checkedAt: number
}

const PREFIX = 's/'
const BYTES = 81
/** File systems keep time in steps of up to 2 s (FAT): within one step a change may leave no trace. */
const RACY_MS = 2_000

/** docs/format.md, "The stage and the stat cache" */
function encode(entry: CachedStat): Uint8Array {
  // From Node's pool: 100,000 arrays of over 64 bytes each would be as many blocks outside the heap.
  const bytes = Buffer.allocUnsafe(BYTES)
  const view = new DataView(bytes.buffer, bytes.byteOffset, BYTES)
  view.setFloat64(0, entry.size, true)
  view.setBigInt64(8, entry.mtimeNs, true)
  view.setBigInt64(16, entry.ctimeNs, true)
  view.setBigUint64(24, BigInt.asUintN(64, entry.ino), true)
  view.setBigUint64(32, BigInt.asUintN(64, entry.dev), true)
  view.setUint8(40, entry.executable ? 1 : 0)
  view.setFloat64(41, entry.checkedAt, true)
  bytes.set(fromHex(entry.id), 49)
  return bytes
}

function decode(bytes: Uint8Array): CachedStat {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return {
    size: view.getFloat64(0, true),
    mtimeNs: view.getBigInt64(8, true),
    ctimeNs: view.getBigInt64(16, true),
    ino: view.getBigUint64(24, true),
    dev: view.getBigUint64(32, true),
    executable: view.getUint8(40) === 1,
    checkedAt: view.getFloat64(41, true),
    id: contentId(toHex(bytes.subarray(49))),
  }
}

/** Changed so shortly before it was hashed that a later change could look the same. ctime cannot be set back. */
const isRacy = (mtimeNs: bigint, ctimeNs: bigint, checkedAt: number): boolean =>
  Number((mtimeNs > ctimeNs ? mtimeNs : ctimeNs) / 1_000_000n) >= checkedAt - RACY_MS

/** What is remembered of the files of the work tree. */
export interface StatCache {
  /**
   * The id of the file's bytes, if it is as it was when it was hashed, and was hashed late enough after its
   * last change to be sure.
   */
  vouched(path: string, now: StatFacts): ContentId | undefined
  get(path: string): CachedStat | undefined
}

export async function readStatCache(cache: CacheSpace): Promise<StatCache> {
  // Entries stay as bytes in one block: as objects, those of 112,120 files cost 0.3 s of garbage collection.
  const places = new Map<string, number>()
  let block = Buffer.allocUnsafe(BYTES * 1024)
  for await (const batch of cache.entries(PREFIX)) {
    for (const [key, value] of batch) {
      if (value.length !== BYTES) continue
      const at = places.size * BYTES
      if (at === block.length) block = Buffer.concat([block], block.length * 2)
      block.set(value, at)
      places.set(key.slice(PREFIX.length), at)
    }
  }
  const view = new DataView(block.buffer, block.byteOffset, block.length)
  return {
    vouched(path, now) {
      const at = places.get(path)
      if (at === undefined || view.getFloat64(at, true) !== now.size) return undefined
      const mtimeNs = view.getBigInt64(at + 8, true)
      const ctimeNs = view.getBigInt64(at + 16, true)
      const same =
        mtimeNs === now.mtimeNs &&
        ctimeNs === now.ctimeNs &&
        view.getBigUint64(at + 24, true) === BigInt.asUintN(64, now.ino) &&
        view.getBigUint64(at + 32, true) === BigInt.asUintN(64, now.dev)
      if (!same || isRacy(mtimeNs, ctimeNs, view.getFloat64(at + 41, true))) return undefined
      return contentId(toHex(block.subarray(at + 49, at + BYTES)))
    },
    get(path) {
      const at = places.get(path)
      return at === undefined ? undefined : decode(block.subarray(at, at + BYTES))
    },
  }
}

export const statChange = (
  path: string,
  entry: CachedStat | undefined,
): readonly [string, Uint8Array | undefined] => [
  PREFIX + path,
  entry === undefined ? undefined : encode(entry),
]
