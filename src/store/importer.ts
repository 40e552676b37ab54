import type { PackId } from '../base/index.ts'
import {
  encodeTable,
  frameBody,
  type PackEntry,
  type PackKind,
  verifyPack,
} from '../format/index.ts'
import {
  createUncached,
  fileSystemError,
  makeFolder,
  publishOpenFile,
  removeQuick,
  temporaryBeside,
  threadName,
} from '../io/index.ts'
import { splitIds } from './add-wire.ts'
import type { MaterialisedFile, WorkFolders } from './materialiser.ts'
import { packFolder, packName } from './paths.ts'
import { createWorkFileWriter } from './work-files.ts'

/** A pack from elsewhere, and files of the work tree that are whole chunks of it. */
export interface ImportJob {
  readonly id: PackId
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Absolute paths, separated by NUL. */
  readonly paths: string
  readonly executable: Uint8Array
  /** Content ids, 32 bytes each. */
  readonly ids: Uint8Array
}

export interface ImportedPack {
  readonly kind: PackKind
  /** Those of the job, given back: their memory can be used again. */
  readonly bytes: Uint8Array<ArrayBuffer>
  /** As at the pack's end: what to index. */
  readonly table: Uint8Array
  /** For each file of the job what was written; undefined where the pack has no such chunk. */
  readonly files: readonly MaterialisedFile[]
}

/**
 * Verifies a pack, publishes it, and writes files while its bytes are at hand: once for all, where a
 * checkout would read and hash them again.
 * @throws CxvError PACK_CORRUPT, NO_SPACE, FILE_SYSTEM
 */
export async function importOnePack(
  { packs, temporaries }: WorkFolders,
  { id, bytes, paths, executable, ids }: ImportJob,
): Promise<ImportedPack> {
  const { kind, entries } = verifyPack(id, bytes)
  await publishPack(packs, id, bytes)
  const wanted = paths.split('\0')
  const chunks = new Map<string, PackEntry>()
  if (ids.length > 0) {
    for (const entry of entries) if (entry.kind === 'chunk') chunks.set(keyOf(entry.id), entry)
  }
  const writer = createWorkFileWriter(temporaries)
  const files = splitIds(ids).map((file, i): MaterialisedFile => {
    const entry = chunks.get(keyOf(file))
    const path = wanted[i]
    if (entry === undefined || path === undefined) return undefined
    const plain = frameBody(bytes, entry.offset, entry)
    return writer.write(path, plain.length, [plain], undefined, executable[i] === 1)
  })
  return { kind, bytes, table: encodeTable(entries), files }
}

const keyOf = (id: Uint8Array): string =>
  Buffer.from(id.buffer, id.byteOffset, id.length).toString('latin1')

async function publishPack(packs: string, id: PackId, bytes: Uint8Array): Promise<void> {
  makeFolder(packs)
  const temporary = temporaryBeside(`${packs}/${threadName()}`)
  try {
    const fd = createUncached(temporary, 0o444, [bytes])
    await publishOpenFile(fd, temporary, packFolder(packs, id), packName(id))
  } catch (error) {
    removeQuick(temporary)
    throw fileSystemError(error, temporary)
  }
}
