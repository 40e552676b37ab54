import type { PackEntry } from '../format/index.ts'
import type { ChunkIndex } from './level-index.ts'
import { isReadable, type PackFiles } from './pack-files.ts'

/**
 * Indexes a pack whose frames were not made here. A frame that is known and reads stays where it is: a
 * chunk list from outside may be well-formed and yet wrong, and must not hide the right one.
 */
export async function addForeignPack(
  index: ChunkIndex,
  files: PackFiles,
  pack: Parameters<ChunkIndex['addPack']>[0],
  entries: readonly PackEntry[],
): Promise<void> {
  const passed = new Set<PackEntry>()
  for (const kind of ['chunk', 'recipe'] as const) {
    const ofKind = entries.filter((entry) => entry.kind === kind)
    const known = await index.locate(
      kind,
      ofKind.map((entry) => entry.id),
    )
    for (const [i, entry] of ofKind.entries()) {
      const at = known[i]
      if (at !== undefined && (await isReadable(files, entry, at))) passed.add(entry)
    }
  }
  await index.addPack(pack, entries, passed)
}
