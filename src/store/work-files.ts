import { createHash } from 'node:crypto'
import { dirname } from 'node:path'
import { CxvError, isCxvError, systemCode } from '../base/index.ts'
import {
  alignedBytes,
  closeFile,
  crashPoint,
  createFrom,
  createUncached,
  createUncachedFile,
  discardOpen,
  DISK_BLOCK_BYTES,
  factsOfOpen,
  fileSystemError,
  HIDDEN_TEMPORARY,
  hiddenTemporary,
  linkOrCopy,
  makeFolder,
  namesIn,
  openToRead,
  processAlive,
  type ReadFacts,
  removePath,
  removeQuick,
  renameQuick,
  TEMPORARY_NAME,
  temporaryBeside,
  threadName,
  type UncachedFile,
} from '../io/index.ts'
import type { StatFacts } from './types.ts'

/** Writes files of the work tree, each whole or not at all. For one thread. */
export interface WorkFileWriter {
  /**
   * Not synced: the work tree can be made again from the store.
   * @param path absolute; its folder exists
   * @param size bytes that the pieces should have: those of 256 KiB and more do not pass the page cache
   * @param pieces verified
   * @param wholeId what the pieces together must hash to; undefined when there is one, verified already
   * @returns undefined when a chunk could not be read or does not fit
   */
  write(
    path: string,
    size: number,
    pieces: Iterable<Uint8Array>,
    wholeId: string | undefined,
    executable: boolean,
  ): StatFacts | undefined
  /**
   * As `write`, of one piece, while the caller goes on: the piece is its own again when the call returns,
   * unless it lies in `held`. To be called when there is `room`.
   * @param held memory of `takeFileMemory`, given back by this call's end or later. A piece that lies there from
   *   `FILE_AT` on is written without a copy
   */
  begin(
    path: string,
    piece: Uint8Array,
    executable: boolean,
    held?: Uint8Array,
  ): Promise<StatFacts | undefined>
  /** Waits until another file may be begun. */
  room(): Promise<void>
}

/** Files of one writer that are on their way to the disk at the same time, each in memory of its own. */
const MAX_BEGUN = 5
/** A larger piece is written before `begin` returns. */
const BEGUN_MAX_BYTES = 1 << 20

/**
 * From here on a file's bytes past the page cache cost less than through it, though each write waits for the
 * disk: at 128 KiB it is the same, at 64 KiB it costs 1.4 times as much (docs/decisions/0018).
 */
export const UNCACHED_FROM_BYTES = 256 << 10

/** @throws CxvError CHUNK_CORRUPT after the last piece */
function* checked(pieces: Iterable<Uint8Array>, wholeId: string): Generator<Uint8Array> {
  const whole = createHash('sha256')
  for (const piece of pieces) {
    whole.update(piece)
    yield piece
  }
  if (whole.digest('hex') !== wholeId) {
    throw new CxvError('CHUNK_CORRUPT', `the chunks of ${wholeId} do not make up its bytes`)
  }
}

/** Where a file begins in the memory it is written from; before it is room for what it was read with. */
export const FILE_AT = DISK_BLOCK_BYTES
/** That room, and the largest piece that is written while its writer goes on. */
export const FILE_MEMORY_BYTES = FILE_AT + BEGUN_MAX_BYTES
/** Memory of this thread for files that are begun. */
const memory: Uint8Array[] = []

/** @returns `FILE_MEMORY_BYTES`, the caller's alone until it hands them to `begin` or gives them back */
export function takeFileMemory(): Uint8Array {
  const free = memory.pop()
  if (free !== undefined) return free
  // Together: see `alignedBytes`.
  const several = alignedBytes((MAX_BEGUN + 1) * FILE_MEMORY_BYTES)
  for (let i = 0; i <= MAX_BEGUN; i++) {
    memory.push(several.subarray(i * FILE_MEMORY_BYTES, (i + 1) * FILE_MEMORY_BYTES))
  }
  return takeFileMemory()
}

export const giveBackFileMemory = (bytes: Uint8Array): void => void memory.push(bytes)

const modeOf = (executable: boolean): number => (executable ? 0o777 : 0o666)

interface Published {
  readonly fd: number
  readonly before: ReadFacts
}

/**
 * @param temporaries folder for files on their way, made when it is needed: a kill leaves no name in the
 * work tree that is not the user's. Where a folder of the work tree is on another file system, there is no
 * renaming into it: there they are written beside the file, under names that are never tracked.
 */
export function createWorkFileWriter(temporaries: string): WorkFileWriter {
  const elsewhere = new Set<string>()
  let made = false

  function newTemporary(path: string): string {
    const folder = dirname(path)
    if (elsewhere.has(folder)) return hiddenTemporary(folder, threadName())
    if (!made) makeFolder(temporaries)
    made = true
    return temporaryBeside(`${temporaries}/${threadName()}`)
  }

  /**
   * @returns the descriptor of the file as it is now under its name, the one given being closed if it is another;
   * and facts of before it had its name: what another program does to it from then on changes them
   */
  function publish(fd: number, temporary: string, path: string): Published {
    crashPoint('write')
    const before = factsOfOpen(fd)
    try {
      renameQuick(temporary, path)
      return { fd, before }
    } catch (error) {
      if (systemCode(error) !== 'EXDEV') throw error
    }
    const folder = dirname(path)
    elsewhere.add(folder)
    removeTemporaries(folder, { pattern: HIDDEN_TEMPORARY })
    const copy = newTemporary(path)
    linkOrCopy(temporary, copy)
    removeQuick(temporary)
    const copied = openToRead(copy)
    const ofCopy = factsOfOpen(copied)
    try {
      renameQuick(copy, path)
    } catch (error) {
      closeFile(copied)
      removeQuick(copy)
      throw error
    }
    closeFile(fd)
    return { fd: copied, before: ofCopy }
  }

  /** Gives the file its name, and closes it. */
  function finish(fd: number, temporary: string, path: string, executable: boolean): StatFacts {
    let open = fd
    try {
      const published = publish(fd, temporary, path)
      open = published.fd
      const { size, mtimeNs } = published.before
      // A rename sets it.
      const { ctimeNs, ino, dev } = factsOfOpen(open)
      return { size, mtimeNs, ctimeNs, ino, dev, executable }
    } catch (error) {
      removeQuick(temporary)
      throw fileSystemError(error, path)
    } finally {
      closeFile(open)
    }
  }

  const write: WorkFileWriter['write'] = (path, expected, pieces, wholeId, executable) => {
    const temporary = newTemporary(path)
    const create = expected >= UNCACHED_FROM_BYTES ? createUncached : createFrom
    let fd: number
    try {
      const all = wholeId === undefined ? pieces : checked(pieces, wholeId)
      fd = create(temporary, modeOf(executable), all)
    } catch (error) {
      if (isCxvError(error, 'CHUNK_CORRUPT') || isCxvError(error, 'CHUNK_MISSING')) return undefined
      throw fileSystemError(error, path)
    }
    return finish(fd, temporary, path, executable)
  }

  const begun = new Set<Promise<void>>()

  const writeBegun = async (
    path: string,
    block: Uint8Array,
    executable: boolean,
  ): Promise<StatFacts> => {
    const temporary = newTemporary(path)
    let file: UncachedFile | undefined
    try {
      file = createUncachedFile(temporary, modeOf(executable))
      await file.write(block, 0)
    } catch (error) {
      if (file !== undefined) discardOpen(file.fd(), temporary)
      throw fileSystemError(error, path)
    }
    return finish(file.fd(), temporary, path, executable)
  }

  return {
    write,
    async begin(path, piece, executable, held) {
      if (piece.length < UNCACHED_FROM_BYTES || piece.length > BEGUN_MAX_BYTES) {
        if (held !== undefined) giveBackFileMemory(held)
        return write(path, piece.length, [piece], undefined, executable)
      }
      const slot = held ?? takeFileMemory()
      const block = slot.subarray(FILE_AT, FILE_AT + piece.length)
      if (piece.buffer !== block.buffer || piece.byteOffset !== block.byteOffset) block.set(piece)
      const written = writeBegun(path, block, executable)
      const settled = written
        .catch(() => undefined)
        .then(() => {
          giveBackFileMemory(slot)
          begun.delete(settled)
        })
      begun.add(settled)
      return written
    },
    async room() {
      while (begun.size >= MAX_BEGUN) await Promise.race(begun)
    },
  }
}

/**
 * Removes temporary files of processes that are gone: nothing refers to them.
 * @param options.own also those of this process, none of whose threads writes any more
 * @returns how many there were
 */
export function removeTemporaries(
  folder: string,
  options: { readonly own?: boolean; readonly pattern?: RegExp } = {},
): number {
  let removed = 0
  for (const name of namesIn(folder)) {
    const pid = Number((options.pattern ?? TEMPORARY_NAME).exec(name)?.[1])
    if (Number.isNaN(pid)) continue
    if (pid === process.pid ? options.own !== true : processAlive(pid)) continue
    removePath(`${folder}/${name}`)
    removed++
  }
  return removed
}
