import { CxvError, type PackId } from '../base/index.ts'
import {
  checkPack,
  encodeTable,
  FRAME_HEADER_BYTES,
  frameBody,
  type PackBytes,
  type PackEntry,
  type PackKind,
  type PackToCheck,
  verifyPack,
} from '../format/index.ts'
import {
  alignedBytes,
  createUncachedFile,
  discardOpen,
  factsOfOpen,
  fileSystemError,
  linkOwnFile,
  makeFolder,
  publishOpenFile,
  readInto,
  temporaryBeside,
  threadName,
  type UncachedFile,
} from '../io/index.ts'
import { splitIds } from './add-wire.ts'
import type { MaterialisedFile, WorkFolders } from './materialiser.ts'
import { packFolder, packName } from './paths.ts'
import {
  createWorkFileWriter,
  FILE_AT,
  FILE_MEMORY_BYTES,
  giveBackFileMemory,
  takeFileMemory,
  UNCACHED_FROM_BYTES,
} from './work-files.ts'

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
  const files = createJobFiles(folders, job)
  if ('path' in source) return importLinked(folders.packs, id, source, files)
  const { kind, entries } = verifyPack(id, source)
  await publishPack(folders.packs, id, source)
  try {
    for (const entry of entries) {
      if (files.wants(entry)) await files.take(entry, frameBody(source, entry.offset, entry))
    }
  } finally {
    await files.settled()
  }
  return { kind, bytes: source, table: encodeTable(entries), files: await files.all() }
}

/** The bytes are the remote's own and durable: each file is written as its chunk is verified. */
async function importLinked(
  packs: string,
  id: PackId,
  { path, sizeBytes }: PackToLink,
  files: JobFiles,
): Promise<ImportedPack | undefined> {
  makeFolder(packs)
  const temporary = temporaryBeside(`${packs}/${threadName()}`)
  const fd = linkOwnFile(path, temporary)
  if (fd === undefined) return undefined
  const reader = createPackReader(fd, sizeBytes)
  let pack: PackToCheck
  try {
    if (factsOfOpen(fd).size !== sizeBytes) {
      discardOpen(fd, temporary)
      return undefined
    }
    pack = checkPack(id, sizeBytes, reader.read)
    for (const { entry, plain } of pack.frames()) {
      if (files.wants(entry)) await files.take(entry, plain, reader.yieldMemory)
    }
  } catch (error) {
    discardOpen(fd, temporary)
    throw error
  } finally {
    reader.close()
    await files.settled()
  }
  await publishOpenFile(fd, temporary, packFolder(packs, id), packName(id))
  return { kind: pack.kind, table: encodeTable(pack.entries), files: await files.all() }
}

/** Small frames are read together; a large one alone, so that it stays in the processor's cache. */
const WINDOW_BYTES = 256 << 10

interface PackReader {
  readonly read: PackBytes
  /** Of the frame that was read last, if it was read alone: its memory, of `takeFileMemory`, now the caller's. */
  readonly yieldMemory: () => Uint8Array | undefined
  readonly close: () => void
}

function createPackReader(fd: number, sizeBytes: number): PackReader {
  let window = new Uint8Array(WINDOW_BYTES)
  let from = 0
  let end = 0
  let alone: Uint8Array | undefined
  let lastAlone = false
  const fill = (into: Uint8Array, offset: number, wanted: number): number => {
    let filled: number
    try {
      filled = readInto(fd, into, offset)
    } catch (cause) {
      throw new CxvError('PACK_CORRUPT', 'damaged pack: it cannot be read', { cause })
    }
    if (filled < wanted) throw new CxvError('PACK_CORRUPT', 'damaged pack: it is cut off')
    return filled
  }
  return {
    read(offset, length) {
      lastAlone =
        length >= FRAME_HEADER_BYTES + UNCACHED_FROM_BYTES &&
        length <= FRAME_HEADER_BYTES + FILE_MEMORY_BYTES - FILE_AT
      if (lastAlone) {
        alone ??= takeFileMemory()
        // So that a stored chunk lies where it can be written from.
        const start = FILE_AT - FRAME_HEADER_BYTES
        const frame = alone.subarray(start, start + length)
        fill(frame, offset, length)
        return frame
      }
      if (offset < from || offset + length > end) {
        const wanted = Math.max(length, Math.min(WINDOW_BYTES, sizeBytes - offset))
        if (wanted > window.length) window = new Uint8Array(wanted)
        end = from = offset
        end += fill(window.subarray(0, wanted), offset, length)
      }
      return window.subarray(offset - from, offset - from + length)
    },
    yieldMemory() {
      if (!lastAlone) return undefined
      const memory = alone
      alone = undefined
      return memory
    },
    close() {
      if (alone !== undefined) giveBackFileMemory(alone)
      alone = undefined
    },
  }
}

/** The files of a job, written as chunks of the pack come by. */
interface JobFiles {
  wants(entry: PackEntry): boolean
  /**
   * @param plain verified; the caller's again when this resolves, unless its memory was yielded
   * @param yieldMemory asked for the memory that it lies in: @see WorkFileWriter.begin
   */
  take(
    entry: PackEntry,
    plain: Uint8Array,
    yieldMemory?: () => Uint8Array | undefined,
  ): Promise<void>
  /** When no file is on its way any more; never rejects. */
  settled(): Promise<void>
  /** @throws what a file threw */
  all(): Promise<readonly MaterialisedFile[]>
}

function createJobFiles(
  { temporaries }: WorkFolders,
  { paths, executable, ids }: ImportJob,
): JobFiles {
  const writer = createWorkFileWriter(temporaries)
  const absolute = paths.split('\0')
  /** Places in the job, by content id. */
  const wanted = new Map<string, number[]>()
  const contents = splitIds(ids)
  contents.forEach((id, i) => {
    const key = keyOf(id)
    const same = wanted.get(key)
    if (same === undefined) wanted.set(key, [i])
    else same.push(i)
  })
  const written = contents.map((): Promise<MaterialisedFile> => Promise.resolve(undefined))
  let failure: { readonly error: unknown } | undefined
  return {
    wants: (entry) => entry.kind === 'chunk' && wanted.size > 0 && wanted.has(keyOf(entry.id)),
    async take(entry, plain, yieldMemory) {
      const places = wanted.get(keyOf(entry.id)) ?? []
      for (const i of places) {
        await writer.room()
        // A disk that is full is full for the next file too.
        if (failure !== undefined) throw failure.error
        const path = absolute[i]
        if (path === undefined) throw new Error('a file has no path')
        // To the last of several: the others copy it.
        const held = i === places.at(-1) ? yieldMemory?.() : undefined
        written[i] = writer.begin(path, plain, executable[i] === 1, held)
        written[i]?.catch((error: unknown) => void (failure ??= { error }))
      }
      wanted.delete(keyOf(entry.id))
    },
    settled: async () => void (await Promise.allSettled(written)),
    all: () => Promise.all(written),
  }
}

const keyOf = (id: Uint8Array): string =>
  Buffer.from(id.buffer, id.byteOffset, id.length).toString('latin1')

const BLOCK_BYTES = 4 << 20
/** Memory of this thread to write packs from: one waits for the disk while the next is begun. */
const blocks: Uint8Array[] = []

async function publishPack(packs: string, id: PackId, bytes: Uint8Array): Promise<void> {
  makeFolder(packs)
  const temporary = temporaryBeside(`${packs}/${threadName()}`)
  const block = blocks.pop() ?? alignedBytes(BLOCK_BYTES)
  let file: UncachedFile | undefined
  try {
    file = createUncachedFile(temporary, 0o444)
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
      const part = bytes.subarray(at, at + BLOCK_BYTES)
      block.set(part)
      await file.write(block.subarray(0, part.length), at)
    }
  } catch (error) {
    if (file !== undefined) discardOpen(file.fd(), temporary)
    throw fileSystemError(error, temporary)
  } finally {
    blocks.push(block)
  }
  await publishOpenFile(file.fd(), temporary, packFolder(packs, id), packName(id))
}
