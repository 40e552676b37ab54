import { compareUtf8, contentId, toHex } from '../base/index.ts'
import type { ManifestRow } from '../history/types.ts'
import type { CacheSpace } from '../store/types.ts'
import { parentOf } from './ignore.ts'
import { foldersOf } from './scan.ts'
import type { StageChange } from './types.ts'

const PREFIX = 'g/'

/** docs/format.md, "The stage and the stat cache": empty for a removal, else flags, size and id. */
export const stageChange = (change: StageChange): readonly [string, Uint8Array] => {
  if (change.change === 'remove') return [PREFIX + change.path, new Uint8Array(0)]
  const bytes = Buffer.allocUnsafe(41)
  bytes[0] = change.row.executable ? 1 : 0
  bytes.writeDoubleLE(change.row.size, 1)
  bytes.write(change.row.id, 9, 'hex')
  return [PREFIX + change.path, bytes]
}

export const unstageChange = (path: string): readonly [string, undefined] => [
  PREFIX + path,
  undefined,
]

/** So many deletions cost the next verb 0.1 s to pass over, as much as it takes to be rid of them. */
const COMPACT_FROM = 16_384

/** When all of it is committed, or given up. */
export async function emptyStage(
  cache: CacheSpace,
  stage: ReadonlyMap<string, StageChange>,
): Promise<void> {
  await cache.write([...stage.keys()].map(unstageChange))
  if (stage.size >= COMPACT_FROM) await cache.compact(PREFIX)
}

export async function readStage(cache: CacheSpace): Promise<ReadonlyMap<string, StageChange>> {
  const all = new Map<string, StageChange>()
  for await (const batch of cache.entries(PREFIX)) {
    for (const [path, bytes] of batch) {
      if (bytes.length === 0) all.set(path, { path, change: 'remove' })
      else if (bytes.length === 41) {
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
        all.set(path, {
          path,
          change: 'put',
          row: {
            path,
            executable: bytes[0] === 1,
            size: view.getFloat64(1, true),
            id: contentId(toHex(bytes.subarray(9))),
          },
        })
      }
    }
  }
  return all
}

/**
 * As git does: a file that is staged takes the place of what is tracked under its path as a folder, and of
 * files that are tracked at its folders. No version may have both.
 * @param tracked paths as they are staged
 * @returns the tracked paths that must be staged as removed along with the file at `path`
 */
export function openClashes(
  tracked: Pick<ReadonlyMap<string, unknown>, 'has' | 'keys'>,
): (path: string) => readonly string[] {
  const folders = foldersOf(tracked.keys())
  let lastFolder = ''
  let filesAbove: readonly string[] = []
  return (path) => {
    const folder = parentOf(path)
    if (folder !== lastFolder) {
      lastFolder = folder
      filesAbove = []
      for (let at = folder; at !== ''; at = parentOf(at)) {
        if (tracked.has(at)) filesAbove = [...filesAbove, at]
      }
    }
    if (!folders.has(path)) return filesAbove
    return [...filesAbove, ...[...tracked.keys()].filter((p) => p.startsWith(`${path}/`))]
  }
}

/** HEAD's rows with the stage applied, sorted by path. */
export function applyStage(
  rows: readonly ManifestRow[],
  stage: ReadonlyMap<string, StageChange>,
): readonly ManifestRow[] {
  if (stage.size === 0) return rows
  const kept = rows.filter((row) => !stage.has(row.path))
  const put = [...stage.values()].flatMap((c) => (c.change === 'put' ? [c.row] : []))
  put.sort((a, b) => compareUtf8(a.path, b.path))
  return mergeSorted(kept, put)
}

function mergeSorted(a: readonly ManifestRow[], b: readonly ManifestRow[]): readonly ManifestRow[] {
  if (b.length === 0) return a
  const out: ManifestRow[] = []
  let i = 0
  for (const row of b) {
    while (i < a.length && compareUtf8(a[i]!.path, row.path) < 0) out.push(a[i++]!)
    out.push(row)
  }
  while (i < a.length) out.push(a[i++]!)
  return out
}
