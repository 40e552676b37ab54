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

function decode(bytes: Uint8Array): CachedStat | undefined {
  if (bytes.length !== BYTES) return undefined
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

/** The file is as it was when it was hashed, and was hashed late enough after its last change to be sure. */
export function stillFresh(cached: CachedStat, now: StatFacts): boolean {
  return (
    cached.size === now.size &&
    cached.mtimeNs === now.mtimeNs &&
    cached.ctimeNs === now.ctimeNs &&
    cached.ino === BigInt.asUintN(64, now.ino) &&
    cached.dev === BigInt.asUintN(64, now.dev) &&
    !isRacy(cached)
  )
}

/** Changed so shortly before it was hashed that a later change could look the same. ctime cannot be set back. */
const isRacy = (entry: CachedStat): boolean => {
  const newest = entry.mtimeNs > entry.ctimeNs ? entry.mtimeNs : entry.ctimeNs
  return Number(newest / 1_000_000n) >= entry.checkedAt - RACY_MS
}

export async function readStatCache(cache: CacheSpace): Promise<Map<string, CachedStat>> {
  const all = new Map<string, CachedStat>()
  for await (const batch of cache.entries(PREFIX)) {
    for (const [key, value] of batch) {
      const entry = decode(value)
      if (entry !== undefined) all.set(key.slice(PREFIX.length), entry)
    }
  }
  return all
}

export const statChange = (
  path: string,
  entry: CachedStat | undefined,
): readonly [string, Uint8Array | undefined] => [
  PREFIX + path,
  entry === undefined ? undefined : encode(entry),
]
