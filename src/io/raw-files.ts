import * as fs from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { systemCode } from '../base/index.ts'
import { crashPoint } from './crash-point.ts'
import { fileSystemError, syncFolder, writeAll } from './fs.ts'

/**
 * Synchronous calls on file descriptors, for worker threads: there they beat promises several times
 * over on small files.
 */

/** Facts of a file that change when it does. Times in nanoseconds. */
export interface ReadFacts {
  readonly size: number
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  readonly ino: bigint
  readonly dev: bigint
  readonly executable: boolean
  readonly isFile: boolean
}

function factsOf(stat: fs.BigIntStats): ReadFacts {
  return {
    size: Number(stat.size),
    mtimeNs: stat.mtimeNs,
    ctimeNs: stat.ctimeNs,
    ino: stat.ino,
    dev: stat.dev,
    executable: (stat.mode & 0o100n) !== 0n,
    isFile: stat.isFile(),
  }
}

export const factsOfOpen = (fd: number): ReadFacts => factsOf(fs.fstatSync(fd, { bigint: true }))

/** Size in bytes, or undefined when there is no such file or it cannot be looked at. */
export function sizeIfAny(path: string): number | undefined {
  try {
    const stat = fs.statSync(path, { throwIfNoEntry: false })
    return stat?.isFile() === true ? stat.size : undefined
  } catch {
    return undefined
  }
}

/**
 * Reads until `into` is full or the file ends.
 * @param position byte offset in the file
 * @returns bytes read
 */
export function readInto(fd: number, into: Uint8Array, position: number): number {
  let at = 0
  while (at < into.length) {
    const n = fs.readSync(fd, into, at, into.length - at, position + at)
    if (n === 0) break
    at += n
  }
  return at
}

/** A file descriptor for reading; follows symlinks. */
export const openToRead = (path: string): number => fs.openSync(path, 'r')

/** Creates the file; an error when the name is taken, by a symlink too. */
export const createNew = (path: string, mode: number): number => fs.openSync(path, 'wx', mode)

/**
 * Creates a file of these pieces; an error when the name is taken, by a symlink too. No file is left when a
 * piece or the disk fails.
 * @returns the descriptor
 */
export function createFrom(path: string, mode: number, pieces: Iterable<Uint8Array>): number {
  const fd = createNew(path, mode)
  try {
    for (const piece of pieces) writeAll(fd, piece)
    return fd
  } catch (error) {
    fs.closeSync(fd)
    fs.rmSync(path, { force: true })
    throw error
  }
}

/** Direct I/O wants memory, offsets and lengths in multiples of the disk's block. */
const BLOCK = 4_096
/** Memory of WebAssembly begins at a page, which no other array of JavaScript's is sure to. */
interface AlignedMemory {
  readonly WebAssembly: {
    readonly Memory: new (pages: { readonly initial: number }) => { readonly buffer: ArrayBuffer }
  }
}
const STAGING_PAGES = 64
/** On a disk that is nearly full, or of smaller blocks: the page cache can write the rest, or tells why not. */
const SMALL_WRITE = { code: 'EINVAL' }
let staging: Uint8Array | undefined

/**
 * As `createFrom`, past the page cache where the file system can (Linux, most of them): the cache then keeps
 * what is read again, and the bytes cost a fifth of the time (docs/decisions/0018-clone-in-one-pass.md).
 * For files of 256 KiB and more: each write waits for the disk.
 * @param pieces must not create files this way themselves
 */
export function createUncached(path: string, mode: number, pieces: Iterable<Uint8Array>): number {
  const direct = (fs.constants as { readonly O_DIRECT?: number }).O_DIRECT
  if (direct === undefined) return createFrom(path, mode, pieces)
  const { O_WRONLY, O_CREAT, O_EXCL } = fs.constants
  const blocks = inBlocks(pieces)
  let block = blocks.next()
  let fd: number | undefined
  let at = 0
  let failing: 'disk' | 'pieces' = 'disk'
  try {
    fd = fs.openSync(path, O_WRONLY | O_CREAT | O_EXCL | direct, mode)
    while (block.done !== true) {
      writeBlock(fd, block.value, at)
      at += block.value.length
      failing = 'pieces'
      block = blocks.next()
      failing = 'disk'
    }
    if (at % BLOCK !== 0) fs.ftruncateSync(fd, at)
    return fd
  } catch (error) {
    if (fd !== undefined) fs.closeSync(fd)
    const refused = failing === 'disk' && systemCode(error) === 'EINVAL'
    if (!refused) {
      if (fd !== undefined) fs.rmSync(path, { force: true })
      throw error
    }
  }
  const rest = function* (): Generator<Uint8Array> {
    if (block.done !== true) yield block.value
    yield* blocks
  }
  return at === 0 ? createInstead(path, mode, rest()) : appendFrom(path, at, rest())
}

/** Some file systems refuse direct I/O at opening, and leave the file that they made. */
function createInstead(path: string, mode: number, pieces: Iterable<Uint8Array>): number {
  fs.rmSync(path, { force: true })
  return createFrom(path, mode, pieces)
}

/** Goes on behind byte `at` through the page cache: the disk's block may be larger than ours. */
function appendFrom(path: string, at: number, pieces: Iterable<Uint8Array>): number {
  let fd: number | undefined
  try {
    const { mode } = fs.statSync(path)
    fs.chmodSync(path, mode | 0o200)
    fd = fs.openSync(path, fs.constants.O_WRONLY | fs.constants.O_APPEND)
    fs.fchmodSync(fd, mode & 0o7777)
    fs.ftruncateSync(fd, at)
    for (const piece of pieces) writeAll(fd, piece)
    return fd
  } catch (error) {
    if (fd !== undefined) fs.closeSync(fd)
    fs.rmSync(path, { force: true })
    throw error
  }
}

/** The same bytes in aligned memory, which is filled again for each: all but the last are whole blocks. */
function* inBlocks(pieces: Iterable<Uint8Array>): Generator<Uint8Array, undefined> {
  const { Memory } = (globalThis as unknown as AlignedMemory).WebAssembly
  staging ??= new Uint8Array(new Memory({ initial: STAGING_PAGES }).buffer)
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

/** @param block of `inBlocks`: the memory behind it goes on to a whole number of blocks */
function writeBlock(fd: number, { buffer, length }: Uint8Array, position: number): void {
  const all = Math.ceil(length / BLOCK) * BLOCK
  for (let at = 0; at < length;) {
    const written = fs.writeSync(fd, new Uint8Array(buffer), at, all - at, position + at)
    // A short write ends where it may; the next one must begin at a block.
    const whole = written - (written % BLOCK)
    if (whole === 0) throw Object.assign(new Error('less than a block was written'), SMALL_WRITE)
    at += whole
  }
}

export const closeFile = (fd: number): void => fs.closeSync(fd)

const readAsync = promisify(fs.read)
const datasyncAsync = promisify(fs.fdatasync)

/** As `readInto`, without blocking this thread. */
export async function readIntoAsync(
  fd: number,
  into: Uint8Array,
  position: number,
): Promise<number> {
  let at = 0
  while (at < into.length) {
    const { bytesRead } = await readAsync(fd, into, at, into.length - at, position + at)
    if (bytesRead === 0) break
    at += bytesRead
  }
  return at
}

/**
 * Makes a finished temporary file durable under its final name: fdatasync, rename, fsync of the folder.
 * The descriptor is closed, also on failure; on failure the temporary is removed.
 */
export async function publishOpenFile(
  fd: number,
  temporary: string,
  folder: string,
  name: string,
): Promise<void> {
  const path = `${folder}/${name}`
  try {
    try {
      crashPoint('write')
      await datasyncAsync(fd)
    } finally {
      fs.closeSync(fd)
    }
    crashPoint('sync')
    if (fs.mkdirSync(folder, { recursive: true }) !== undefined) syncFolder(`${folder}/..`)
    fs.renameSync(temporary, path)
    crashPoint('rename')
    syncFolder(folder)
  } catch (error) {
    fs.rmSync(temporary, { force: true })
    throw fileSystemError(error, path)
  }
}

/** Rename without a crash point or error translation: for files that need not be durable. */
export const renameQuick = (from: string, to: string): void => fs.renameSync(from, to)

/** Removes the file if it is there. */
export const removeQuick = (path: string): void => fs.rmSync(path, { force: true })

/** A second name for the file's bytes: a hard link, or a copy where the file system has none. */
export function linkOrCopy(from: string, to: string): void {
  try {
    fs.mkdirSync(dirname(to), { recursive: true })
    try {
      fs.linkSync(from, to)
    } catch {
      fs.copyFileSync(from, to, fs.constants.COPYFILE_EXCL)
    }
  } catch (error) {
    throw fileSystemError(error, to)
  }
}
