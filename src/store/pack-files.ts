import { CxvError, equalBytes, isCxvError, type PackId, systemCode, toHex } from '../base/index.ts'
import {
  decodeFrame,
  decodePackHeader,
  decodeTable,
  type ObjectKind,
  PACK_FOOTER_BYTES,
  PACK_HEADER_BYTES,
  PACK_MAX_BYTES,
  type PackEntry,
  type PackKind,
  scanPack,
  tableAndFooterLength,
} from '../format/index.ts'
import {
  closeFile,
  fileSystemError,
  openToRead,
  readInto,
  readIntoAsync,
  sizeIfAny,
} from '../io/index.ts'
import { packPath } from './paths.ts'
import type { Locator } from './types.ts'

/** Open packs for reading: a bounded number of descriptors, least recently used closed first. */
export interface PackFiles {
  /** Bytes of the pack, without blocking. @throws CxvError CHUNK_MISSING, CHUNK_CORRUPT (too short) */
  read(pack: PackId, offset: number, length: number): Promise<Uint8Array>
  /** As `read`, blocking, into the caller's array. */
  readSync(pack: PackId, offset: number, into: Uint8Array): void
  close(): void
}

const MAX_OPEN = 48

interface OpenPack {
  readonly fd: number
  users: number
  evicted: boolean
}

export function createPackFiles(packs: string): PackFiles {
  const open = new Map<PackId, OpenPack>()

  const drop = (id: PackId, file: OpenPack): void => {
    open.delete(id)
    file.evicted = true
    if (file.users === 0) closeFile(file.fd)
  }
  const acquire = (id: PackId): OpenPack => {
    let file = open.get(id)
    if (file === undefined) {
      file = { fd: openPack(packs, id), users: 0, evicted: false }
      for (const [oldest, old] of open) {
        if (open.size < MAX_OPEN) break
        drop(oldest, old)
      }
    } else {
      open.delete(id)
    }
    open.set(id, file)
    file.users++
    return file
  }
  const release = (file: OpenPack): void => {
    file.users--
    if (file.evicted && file.users === 0) closeFile(file.fd)
  }

  return {
    async read(pack, offset, length) {
      const file = acquire(pack)
      try {
        const into = Buffer.allocUnsafeSlow(length)
        if ((await readIntoAsync(file.fd, into, offset)) !== length) throw tooShort(pack)
        return into
      } catch (error) {
        throw unreadable(error, pack, offset)
      } finally {
        release(file)
      }
    },
    readSync(pack, offset, into) {
      const file = acquire(pack)
      try {
        if (readInto(file.fd, into, offset) !== into.length) throw tooShort(pack)
      } catch (error) {
        throw unreadable(error, pack, offset)
      } finally {
        release(file)
      }
    },
    close() {
      for (const [id, file] of [...open]) drop(id, file)
    },
  }
}

function openPack(packs: string, id: PackId): number {
  const path = packPath(packs, id)
  try {
    return openToRead(path)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw fileSystemError(error, path)
    throw new CxvError('CHUNK_MISSING', `pack ${id} is not here`, {
      hint: '`cxv fsck` names what is lost; `cxv pull` or adding the files again brings it back',
      data: { pack: id },
    })
  }
}

/** A sector that the disk cannot read is damage like any other: the rest of the pack can be used. */
function unreadable(error: unknown, pack: PackId, offset: number): unknown {
  if (systemCode(error) !== 'EIO') return error
  return new CxvError('CHUNK_CORRUPT', `pack ${pack} cannot be read from byte ${offset} on`, {
    hint: '`cxv fsck --repair` keeps what can be read of it; `cxv pull` or adding the files again brings the rest back',
    data: { pack, offset },
    cause: error,
  })
}

const tooShort = (pack: PackId): CxvError =>
  new CxvError('CHUNK_CORRUPT', `pack ${pack} is shorter than its frames`, {
    hint: '`cxv fsck --repair` sets it aside; `cxv pull` or adding the files again brings the rest back',
    data: { pack },
  })

/**
 * Decodes the frame a locator points at, and proves it is the one asked for.
 * @param bytes the frame at its start
 * @throws CxvError CHUNK_CORRUPT
 */
export function decodeLocated(
  kind: ObjectKind,
  id: Uint8Array,
  locator: Locator,
  bytes: Uint8Array,
): Uint8Array {
  try {
    const { entry, plain } = decodeFrame(bytes)
    if (entry.kind === kind && equalBytes(entry.id, id)) return plain
  } catch (cause) {
    throw corrupt(id, locator, cause)
  }
  throw corrupt(id, locator)
}

/** Whether the frame is where it is said to be, and whole. */
export async function isReadable(
  files: PackFiles,
  entry: PackEntry,
  at: Locator,
): Promise<boolean> {
  try {
    decodeLocated(entry.kind, entry.id, at, await files.read(at.pack, at.offset, at.length))
    return true
  } catch (error) {
    if (isCxvError(error, 'CHUNK_CORRUPT') || isCxvError(error, 'CHUNK_MISSING')) return false
    throw error
  }
}

const corrupt = (id: Uint8Array, locator: Locator, cause?: unknown): CxvError =>
  new CxvError('CHUNK_CORRUPT', `chunk ${toHex(id)} in pack ${locator.pack} is damaged`, {
    hint: '`cxv fsck --repair` sets the pack aside; `cxv pull` or adding the file again brings the chunk back',
    data: { chunk: toHex(id), pack: locator.pack, offset: locator.offset },
    cause,
  })

export interface PackTable {
  readonly kind: PackKind
  readonly entries: readonly PackEntry[]
  /** The table could not be read: the entries are those frames that a forward scan could check. */
  readonly damaged: boolean
}

/** Most packs' tables: 1,300 frames. */
const TAIL_BYTES = 64 << 10

/**
 * A pack's frames from its table, or by a forward scan of the frames where that is damaged.
 * @throws a system error when the file cannot be read at all
 */
export function readPackTable(path: string, sizeBytes: number): PackTable {
  const fd = openToRead(path)
  try {
    const read = (from: number, length: number): Uint8Array => {
      const bytes = new Uint8Array(length)
      try {
        return bytes.subarray(0, readInto(fd, bytes, from))
      } catch (error) {
        if (systemCode(error) !== 'EIO') throw error
        throw new CxvError('PACK_CORRUPT', `${path} cannot be read`, { cause: error })
      }
    }
    try {
      const kind = decodePackHeader(read(0, PACK_HEADER_BYTES))
      let tail = read(Math.max(0, sizeBytes - TAIL_BYTES), Math.min(TAIL_BYTES, sizeBytes))
      const length = tableAndFooterLength(
        tail.subarray(Math.max(0, tail.length - PACK_FOOTER_BYTES)),
        sizeBytes,
      )
      tail =
        length <= tail.length
          ? tail.subarray(tail.length - length)
          : read(sizeBytes - length, length)
      return { kind, entries: decodeTable(tail, sizeBytes), damaged: false }
    } catch (error) {
      if (!(error instanceof CxvError)) throw error
      return scanned(readWhatCanBe(fd, Math.min(sizeBytes, PACK_MAX_BYTES)))
    }
  } finally {
    closeFile(fd)
  }
}

/** What a disk reads or fails to read at a time, at least. */
const SECTOR_BYTES = 512

/** The pack's bytes, zeros where the disk cannot read them; undefined when it is gone or no pack's size. */
export function readPackBytes(path: string): Uint8Array | undefined {
  const size = sizeIfAny(path)
  if (size === undefined || size > PACK_MAX_BYTES) return undefined
  const fd = openToRead(path)
  try {
    return readWhatCanBe(fd, size)
  } finally {
    closeFile(fd)
  }
}

function readWhatCanBe(fd: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size)
  /** Halves what fails until a sector is left. */
  const read = (from: number, to: number): void => {
    try {
      readInto(fd, bytes.subarray(from, to), from)
    } catch (error) {
      if (systemCode(error) !== 'EIO') throw error
      const sectors = Math.ceil((to - from) / SECTOR_BYTES)
      if (sectors <= 1) {
        bytes.fill(0, from, to)
        return
      }
      const middle = from + Math.ceil(sectors / 2) * SECTOR_BYTES
      read(from, middle)
      read(middle, to)
    }
  }
  read(0, size)
  return bytes
}

function scanned(bytes: Uint8Array): PackTable {
  let kind: PackKind = 'data'
  try {
    kind = decodePackHeader(bytes)
  } catch {
    // Its first bytes are gone too; which kind it was matters to nobody who reads it.
  }
  return { kind, entries: scanPack(bytes).entries, damaged: true }
}
