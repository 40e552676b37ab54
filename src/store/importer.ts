import type { PackId } from '../base/index.ts'
import {
  encodeTable,
  frameBody,
  PACK_MAX_BYTES,
  type PackEntry,
  type PackKind,
  verifyPack,
} from '../format/index.ts'
import {
  closeFile,
  createUncached,
  factsOfOpen,
  fileSystemError,
  linkOwnFile,
  makeFolder,
  publishOpenFile,
  readInto,
  removeQuick,
  temporaryBeside,
  threadName,
} from '../io/index.ts'
import { splitIds } from './add-wire.ts'
import type { MaterialisedFile, WorkFolders } from './materialiser.ts'
import { packFolder, packName } from './paths.ts'
import { createWorkFileWriter } from './work-files.ts'

/** A pack of another repository's on this disk. */
export interface PackToLink {
  /** Absolute. */
  readonly path: string
  readonly sizeBytes: number
}

/** A pack from elsewhere, and files of the work tree that are whole chunks of it. */
export interface ImportJob {
  readonly id: PackId
  readonly source: Uint8Array<ArrayBuffer> | PackToLink
  /** Absolute paths, separated by NUL. */
  readonly paths: string
  readonly executable: Uint8Array
  /** Content ids, 32 bytes each. */
  readonly ids: Uint8Array
}

export interface ImportedPack {
  readonly kind: PackKind
  /** Those of the job, given back: their memory can be used again. None of a pack that was linked. */
  readonly bytes?: Uint8Array<ArrayBuffer>
  /** As at the pack's end: what to index. */
  readonly table: Uint8Array
  /** For each file of the job what was written; undefined where the pack has no such chunk. */
  readonly files: readonly MaterialisedFile[]
}

/**
 * Verifies a pack, publishes it, and writes files while its bytes are at hand: once for all, where a
 * checkout would read and hash them again.
 * @returns undefined for a pack that cannot be linked
 * @throws CxvError PACK_CORRUPT, NO_SPACE, FILE_SYSTEM
 */
export async function importOnePack(
  folders: WorkFolders,
  job: ImportJob,
): Promise<ImportedPack | undefined> {
  const { id, source } = job
  if (!('path' in source)) {
    const { kind, entries } = verifyPack(id, source)
    await publishPack(folders.packs, id, source)
    const files = writeFiles(folders, job, source, entries)
    return { kind, bytes: source, table: encodeTable(entries), files }
  }
  const linked = linkPack(folders.packs, source)
  if (linked === undefined) return undefined
  const { fd, temporary, memory } = linked
  const bytes = memory.subarray(0, source.sizeBytes)
  try {
    const { kind, entries } = verifyLinked(id, linked, bytes)
    await publishOpenFile(fd, temporary, packFolder(folders.packs, id), packName(id))
    return { kind, table: encodeTable(entries), files: writeFiles(folders, job, bytes, entries) }
  } finally {
    spare.push(memory)
  }
}

/** Memory of this thread for packs that are linked. A pack waits for the disk while the next is begun. */
const spare: Uint8Array[] = []

interface LinkedPack {
  readonly fd: number
  readonly temporary: string
  /** Begins with the bytes of the pack. */
  readonly memory: Uint8Array
}

/** A link to the pack under a temporary name. */
function linkPack(packs: string, { path, sizeBytes }: PackToLink): LinkedPack | undefined {
  if (sizeBytes > PACK_MAX_BYTES) return undefined
  makeFolder(packs)
  const temporary = temporaryBeside(`${packs}/${threadName()}`)
  const fd = linkOwnFile(path, temporary)
  if (fd === undefined) return undefined
  const found = spare.pop()
  const memory =
    found !== undefined && found.length >= sizeBytes ? found : new Uint8Array(sizeBytes)
  try {
    const whole =
      factsOfOpen(fd).size === sizeBytes &&
      readInto(fd, memory.subarray(0, sizeBytes), 0) === sizeBytes
    if (whole) return { fd, temporary, memory }
  } catch {
    // A sector that the disk cannot read: who copies the pack is told.
  }
  spare.push(memory)
  giveUpLink(fd, temporary)
  return undefined
}

function giveUpLink(fd: number, temporary: string): void {
  closeFile(fd)
  removeQuick(temporary)
}

function verifyLinked(
  id: PackId,
  { fd, temporary }: LinkedPack,
  bytes: Uint8Array,
): ReturnType<typeof verifyPack> {
  try {
    return verifyPack(id, bytes)
  } catch (error) {
    giveUpLink(fd, temporary)
    throw error
  }
}

function writeFiles(
  { temporaries }: WorkFolders,
  { paths, executable, ids }: ImportJob,
  bytes: Uint8Array,
  entries: readonly PackEntry[],
): readonly MaterialisedFile[] {
  const wanted = paths.split('\0')
  const chunks = new Map<string, PackEntry>()
  if (ids.length > 0) {
    for (const entry of entries) if (entry.kind === 'chunk') chunks.set(keyOf(entry.id), entry)
  }
  const writer = createWorkFileWriter(temporaries)
  return splitIds(ids).map((file, i): MaterialisedFile => {
    const entry = chunks.get(keyOf(file))
    const path = wanted[i]
    if (entry === undefined || path === undefined) return undefined
    const plain = frameBody(bytes, entry.offset, entry)
    return writer.write(path, plain.length, [plain], undefined, executable[i] === 1)
  })
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
