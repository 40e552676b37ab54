import { isSha256, packId, type PackId } from '../base/index.ts'
import { namesIn, sizeIfAny } from '../io/index.ts'
import type { ChunkIndex } from './level-index.ts'
import { readPackTable } from './pack-files.ts'
import { PACK_NAME, packPath } from './paths.ts'

/** What the index can hold as a size; no pack comes near. */
const MAX_FILE_BYTES = 0xffffffff

/** Brings the index in step with the pack files. @returns whether it had to be built anew */
export async function matchPacks(index: ChunkIndex, packs: string): Promise<boolean> {
  const onDisk = packsOnDisk(packs)
  let gone = index.rebuilding
  for (const row of index.packs().values()) gone ||= onDisk.get(row.id) !== row.sizeBytes
  // Locators of a gone pack may hide the same chunk in another one: all tables are read again.
  if (gone) await index.beginRebuild()
  for (const [id, sizeBytes] of onDisk) {
    if (!index.packs().has(id)) await indexPack(index, packs, id, sizeBytes)
  }
  if (gone) await index.endRebuild()
  return gone
}

/** Reads every pack's table again. */
export async function rebuildIndex(index: ChunkIndex, packs: string): Promise<void> {
  await index.beginRebuild()
  for (const [id, sizeBytes] of packsOnDisk(packs)) await indexPack(index, packs, id, sizeBytes)
  await index.endRebuild()
}

async function indexPack(
  index: ChunkIndex,
  packs: string,
  id: PackId,
  sizeBytes: number,
): Promise<void> {
  const { kind, entries, damaged } = readPackTable(packPath(packs, id), sizeBytes)
  await index.addPack({ id, sizeBytes, kind, damaged }, entries)
}

/** Pack files by name with their sizes; names that are no pack's are left alone. */
export function packsOnDisk(packs: string): Map<PackId, number> {
  const found = new Map<PackId, number>()
  for (const folder of namesIn(packs)) {
    if (!/^[0-9a-f]{2}$/.test(folder)) continue
    for (const name of namesIn(`${packs}/${folder}`)) {
      const id = PACK_NAME.exec(name)?.[1]
      if (id === undefined || !id.startsWith(folder) || !isSha256(id)) continue
      const size = sizeIfAny(`${packs}/${folder}/${name}`)
      if (size !== undefined && size <= MAX_FILE_BYTES) found.set(packId(id), size)
    }
  }
  return found
}
