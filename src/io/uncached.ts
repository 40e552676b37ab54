import * as fs from 'node:fs'
import { promisify } from 'node:util'
import { systemCode } from '../base/index.ts'
import { writeAll } from './fs.ts'
import { createNew, discardOpen } from './raw-files.ts'

/**
 * Files written past the page cache where the file system can (Linux, most of them): the cache then keeps what
 * is read again, and the bytes cost a fifth of the time (docs/decisions/0018-clone-in-one-pass.md).
 */

/** Direct I/O wants memory, offsets and lengths in multiples of the disk's block. */
export const DISK_BLOCK_BYTES = 4_096
/** Memory of WebAssembly begins at a page, which no other array of JavaScript's is sure to. */
interface AlignedMemory {
  readonly WebAssembly: {
    readonly Memory: new (pages: { readonly initial: number }) => { readonly buffer: ArrayBuffer }
  }
}
const WASM_PAGE_BYTES = 64 << 10
const STAGING_BYTES = 4 << 20
/** On a disk that is nearly full, or of smaller blocks: the page cache can write the rest, or tells why not. */
const SMALL_WRITE = { code: 'EINVAL' }
let staging: Uint8Array | undefined

/**
 * Memory that direct I/O takes, of at least so many bytes and whole blocks. The engine reserves 10 GiB of
 * addresses for each: keep few. Where a process may not have so many (`ulimit -v`, a batch system), it is any
 * memory, which direct I/O then refuses and the page cache takes.
 */
export function alignedBytes(length: number): Uint8Array<ArrayBuffer> {
  const pages = Math.ceil(length / WASM_PAGE_BYTES)
  const { Memory } = (globalThis as unknown as AlignedMemory).WebAssembly
  try {
    return new Uint8Array(new Memory({ initial: pages }).buffer)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return new Uint8Array(pages * WASM_PAGE_BYTES)
  }
}

interface OpenFile {
  readonly fd: number
  readonly direct: boolean
}

/** Creates the file; an error when the name is taken, by a symlink too. */
function openDirect(path: string, mode: number): OpenFile {
  const direct = (fs.constants as { readonly O_DIRECT?: number }).O_DIRECT
  if (direct === undefined) return { fd: createNew(path, mode), direct: false }
  const { O_WRONLY, O_CREAT, O_EXCL } = fs.constants
  try {
    return { fd: fs.openSync(path, O_WRONLY | O_CREAT | O_EXCL | direct, mode), direct: true }
  } catch (error) {
    if (!isRefusal(error)) throw error
    // Some file systems refuse it at opening, and leave the file that they made.
    fs.rmSync(path, { force: true })
    return { fd: createNew(path, mode), direct: false }
  }
}

/** Whether direct I/O was refused, which does not tell that the page cache would be. */
const isRefusal = (error: unknown): boolean => systemCode(error) === 'EINVAL'

/**
 * The same file through the page cache, for what comes behind byte `at`. The descriptor it had is closed, unless
 * this throws.
 */
function reopenCached(path: string, { fd: before }: OpenFile, at: number): OpenFile {
  const { mode } = fs.fstatSync(before)
  fs.fchmodSync(before, mode | 0o200)
  const fd = fs.openSync(path, fs.constants.O_WRONLY | fs.constants.O_NOFOLLOW)
  try {
    fs.fchmodSync(fd, mode & 0o7777)
    fs.ftruncateSync(fd, at)
  } catch (error) {
    fs.closeSync(fd)
    throw error
  }
  fs.closeSync(before)
  return { fd, direct: false }
}

/**
 * Creates a file of these pieces; an error when the name is taken, by a symlink too. No file is left when a
 * piece or the disk fails. For files of 256 KiB and more: each write waits for the disk.
 * @param pieces must not create files this way themselves
 * @returns the descriptor
 */
export function createUncached(path: string, mode: number, pieces: Iterable<Uint8Array>): number {
  let file = openDirect(path, mode)
  let at = 0
  try {
    for (const block of inBlocks(pieces)) {
      if (file.direct) {
        try {
          writeBlock(file.fd, block, at)
        } catch (error) {
          if (!isRefusal(error)) throw error
          file = reopenCached(path, file, at)
        }
      }
      if (!file.direct) writeAll(file.fd, block, at)
      at += block.length
    }
    return file.fd
  } catch (error) {
    discardOpen(file.fd, path)
    throw error
  }
}

/** A new file that is written from its beginning to its end while its writer does other things. */
export interface UncachedFile {
  /** Of the file as it is now: another one after a write that direct I/O was refused for. */
  fd(): number
  /**
   * To be awaited before the next. Only the last may end within a block.
   * @param block begins a whole number of blocks behind what `alignedBytes` gave; what follows it in that
   *   memory, to the end of a block, may be written and cut off again
   */
  write(block: Uint8Array, position: number): Promise<void>
}

/** @throws a system error when the name is taken, by a symlink too */
export function createUncachedFile(path: string, mode: number): UncachedFile {
  let file = openDirect(path, mode)
  return {
    fd: () => file.fd,
    async write(block, position) {
      if (file.direct) {
        try {
          await writeBlockAsync(file.fd, block, position)
          return
        } catch (error) {
          if (!isRefusal(error)) throw error
          file = reopenCached(path, file, position)
        }
      }
      for (let at = 0; at < block.length;) {
        at += await writeAsync(file.fd, block, at, block.length - at, position + at)
      }
    },
  }
}

/** The same bytes in aligned memory, which is filled again for each: all but the last are whole blocks. */
function* inBlocks(pieces: Iterable<Uint8Array>): Generator<Uint8Array, undefined> {
  staging ??= alignedBytes(STAGING_BYTES)
  let filled = 0
  for (const piece of pieces) {
    for (let from = 0; from < piece.length;) {
      const part = piece.subarray(from, from + staging.length - filled)
      staging.set(part, filled)
      filled += part.length
      from += part.length
      if (filled < staging.length) continue
      yield staging
      filled = 0
    }
  }
  if (filled > 0) yield staging.subarray(0, filled)
}

/** It, and what follows it in its memory to the end of a block. */
const wholeBlocksOf = ({ buffer, byteOffset, length }: Uint8Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, Math.ceil(length / DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES)

/** A short write ends where it may; the next one must begin at a block. */
function wholeBlocks(written: number): number {
  const whole = written - (written % DISK_BLOCK_BYTES)
  if (whole === 0) throw Object.assign(new Error('less than a block was written'), SMALL_WRITE)
  return whole
}

/** @param block of aligned memory, which goes on behind it to a whole number of blocks */
function writeBlock(fd: number, block: Uint8Array, position: number): void {
  const bytes = wholeBlocksOf(block)
  const all = bytes.length
  const { length } = block
  for (let at = 0; at < length;) {
    at += wholeBlocks(fs.writeSync(fd, bytes, at, all - at, position + at))
  }
  if (all !== length) fs.ftruncateSync(fd, position + length)
}

const writeAsync = (
  fd: number,
  bytes: Uint8Array,
  from: number,
  length: number,
  position: number,
): Promise<number> =>
  new Promise((resolve, reject) => {
    fs.write(fd, bytes, from, length, position, (error, written) => {
      if (error === null) resolve(written)
      else reject(error)
    })
  })
const truncateAsync = promisify(fs.ftruncate)

/** As `writeBlock`, without blocking this thread. */
async function writeBlockAsync(fd: number, block: Uint8Array, position: number): Promise<void> {
  const bytes = wholeBlocksOf(block)
  const all = bytes.length
  const { length } = block
  for (let at = 0; at < length;) {
    at += wholeBlocks(await writeAsync(fd, bytes, at, all - at, position + at))
  }
  if (all !== length) await truncateAsync(fd, position + length)
}
