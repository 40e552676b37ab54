import * as fs from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { syncFolderBehind } from './async-files.ts'
import { crashPoint } from './crash-point.ts'
import { fileSystemError, openNoFollow, writeAll } from './fs.ts'

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
    discardOpen(fd, path)
    throw error
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
    const made = fs.mkdirSync(folder, { recursive: true }) !== undefined
    fs.renameSync(temporary, path)
    crashPoint('rename')
    // Two names of one file: renaming one to the other does nothing, and leaves both.
    fs.rmSync(temporary, { force: true })
    await Promise.all([
      syncFolderBehind(folder),
      ...(made ? [syncFolderBehind(dirname(folder))] : []),
    ])
  } catch (error) {
    fs.rmSync(temporary, { force: true })
    throw fileSystemError(error, path)
  }
}

/** Rename without a crash point or error translation: for files that need not be durable. */
export const renameQuick = (from: string, to: string): void => fs.renameSync(from, to)

/** Closes and removes a temporary file that is given up: some file systems tell of a full disk at closing. */
export function discardOpen(fd: number, path: string): void {
  try {
    fs.closeSync(fd)
  } catch {
    // What made it to be given up is the news.
  }
  fs.rmSync(path, { force: true })
}

/** Removes the file if it is there. */
export const removeQuick = (path: string): void => fs.rmSync(path, { force: true })

/**
 * A second name for a file that only this user can write, whoever owns the folder it is in: what another user
 * could change later must not be shared.
 * @returns a descriptor to read it; undefined where the file system cannot link, or the file is none to share
 */
export function linkOwnFile(from: string, to: string): number | undefined {
  const user = process.getuid?.()
  if (user === undefined) return undefined
  try {
    fs.linkSync(from, to)
  } catch {
    return undefined
  }
  try {
    // Before it is opened: a pipe would be waited for. A symbolic link may have been linked itself.
    const stat = fs.lstatSync(to)
    if (stat.isFile() && stat.uid === user && (stat.mode & 0o022) === 0) return openNoFollow(to)
  } catch {
    // Not to be read: no file to share.
  }
  fs.rmSync(to, { force: true })
  return undefined
}

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
