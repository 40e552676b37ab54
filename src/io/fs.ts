import { constants, type BigIntStats } from 'node:fs'
import * as fs from 'node:fs'
import * as fsp from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CxvError, systemCode, toHex } from '../base/index.ts'
import { crashPoint } from './crash-point.ts'

/** What is wrong at a path, by the system's code; and what to do where that is not plain. */
const SYSTEM_CODES: Readonly<
  Record<string, { readonly says?: (path: string) => string; readonly hint?: string }>
> = {
  EACCES: {},
  EPERM: {},
  EIO: {},
  EROFS: { hint: 'the disk is mounted read-only, and this needs to write' },
  EMFILE: { hint: 'raise the limit of open files (`ulimit -n 4096`)' },
  ENFILE: { hint: 'raise the limit of open files (`ulimit -n 4096`)' },
  EBUSY: { hint: 'another program uses it: end that, then run the same command again' },
  EISDIR: { says: (path) => `${path} is a folder, and a file is needed`, hint: 'name a file' },
  ENOTDIR: {
    says: (path) => `${path} cannot be: a part of that path is a file, and a folder is needed`,
    hint: 'choose another path, or move that file away',
  },
  EEXIST: {
    says: (path) => `something else is at ${path} already`,
    hint: 'choose another path, or move what is there away',
  },
  ENOTEMPTY: {
    says: (path) => `the folder ${path} is not empty`,
    hint: 'move what is in it away',
  },
  ENAMETOOLONG: {
    says: (path) => `the name is too long: ${path.slice(0, 200)}`,
    hint: 'choose a shorter one',
  },
  ELOOP: {
    says: (path) => `${path} is a symbolic link, or leads through links that go round in circles`,
    hint: 'replace the link by what it shall name',
  },
}

/** Turns a system error into the typed one a user can act on; anything else is returned as it is. */
export function fileSystemError(error: unknown, path: string): unknown {
  const code = systemCode(error)
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new CxvError('NO_SPACE', `no space left while writing ${path}`, {
      hint: 'free some space and run the same command again: what is already stored is kept',
      data: { path },
      cause: error,
    })
  }
  const known =
    code !== undefined && Object.hasOwn(SYSTEM_CODES, code) ? SYSTEM_CODES[code] : undefined
  if (known === undefined) return error
  return new CxvError('FILE_SYSTEM', known.says?.(path) ?? `${path}: ${(error as Error).message}`, {
    hint:
      known.hint ??
      'check the permissions and the state of the disk, then run the same command again',
    data: { path, system: code },
    cause: error,
  })
}

/** Removes a temporary of what failed. That it failed is to be told, not that this did too. */
function discard(path: string): void {
  try {
    fs.rmSync(path, { force: true })
  } catch {
    // It goes with the next cleaning up, or was never made.
  }
}

/** The file's bytes, or undefined when there is none. Refuses files over `maxBytes`. @throws CxvError TOO_LARGE */
export async function readFileIfAny(
  path: string,
  maxBytes = 1 << 30,
): Promise<Uint8Array | undefined> {
  let handle: fsp.FileHandle
  try {
    handle = await fsp.open(path, 'r')
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
    throw fileSystemError(error, path)
  }
  try {
    const { size } = await handle.stat()
    if (size > maxBytes) {
      throw new CxvError(
        'TOO_LARGE',
        `${path} has ${size} bytes; at most ${maxBytes} were expected`,
        {
          data: { path, size, maxBytes },
        },
      )
    }
    const bytes = await handle.readFile()
    // Not a Buffer: its slice() shares memory where a Uint8Array's copies.
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
  } catch (error) {
    throw fileSystemError(error, path)
  } finally {
    await handle.close()
  }
}

/** Makes the folder's entries durable. Ignored where the file system cannot (EINVAL on some). */
export function syncFolder(path: string): void {
  let fd: number
  try {
    fd = fs.openSync(path, 'r')
  } catch {
    return
  }
  try {
    fs.fsyncSync(fd)
  } catch {
    // Some file systems refuse to sync a folder; the rename is then as durable as they make it.
  } finally {
    fs.closeSync(fd)
  }
}

let temporary = 0

/** A name beside `path` that no other process uses. Leftovers match `TEMPORARY_NAME`. */
export const temporaryBeside = (path: string): string =>
  `${path}.tmp-${process.pid}-${Date.now().toString(36)}-${++temporary}`

export const TEMPORARY_NAME = /\.tmp-(\d+)-[0-9a-z]+-\d+$/

/** A name in a folder of the user's that no other process uses. Leftovers match `HIDDEN_TEMPORARY`. */
export const hiddenTemporary = (folder: string, what: string): string =>
  temporaryBeside(`${folder}/.cxv-${what}`)

export const HIDDEN_TEMPORARY = /^\.cxv-[^/]*\.tmp-(\d+)-[0-9a-z]+-\d+$/

/**
 * Writes the whole file or nothing: temporary beside it, fsync, rename, fsync of the folder.
 * Durable when it returns. Makes missing parent folders.
 * @param temp where to write first, on the same file system: for folders whose every name means something
 */
export function writeFileAtomic(
  path: string,
  bytes: Uint8Array,
  mode = 0o644,
  temp = temporaryBeside(path),
): void {
  try {
    fs.mkdirSync(dirname(path), { recursive: true })
    const fd = fs.openSync(temp, 'wx', mode)
    try {
      writeAll(fd, bytes)
      crashPoint('write')
      fs.fsyncSync(fd)
    } finally {
      fs.closeSync(fd)
    }
    crashPoint('sync')
    fs.renameSync(temp, path)
    crashPoint('rename')
    syncFolder(dirname(path))
  } catch (error) {
    discard(temp)
    throw fileSystemError(error, path)
  }
}

/** Replaces the file by rename but without fsync: for heartbeats, which a crash may lose. */
export function writeFileFast(path: string, bytes: Uint8Array): void {
  const temp = temporaryBeside(path)
  try {
    fs.writeFileSync(temp, bytes)
    fs.renameSync(temp, path)
  } catch (error) {
    discard(temp)
    throw fileSystemError(error, path)
  }
}

/** `writeSync` until every byte is written. @param position in the file; where the last write ended, if left out */
export function writeAll(fd: number, bytes: Uint8Array, position?: number): void {
  for (let at = 0; at < bytes.length;) {
    const to = position === undefined ? null : position + at
    at += fs.writeSync(fd, bytes, at, bytes.length - at, to)
  }
}

/** Creates the file only if absent, durable. Returns false when it was there. Leaves none when it fails. */
export function createFileExclusive(path: string, bytes: Uint8Array): boolean {
  makeFolder(dirname(path))
  let fd: number
  try {
    fd = fs.openSync(path, 'wx', 0o644)
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false
    throw fileSystemError(error, path)
  }
  try {
    try {
      writeAll(fd, bytes)
      fs.fsyncSync(fd)
    } finally {
      fs.closeSync(fd)
    }
  } catch (error) {
    // Half a lock would be taken for one that a living process is about to write.
    discard(path)
    throw fileSystemError(error, path)
  }
  syncFolder(dirname(path))
  return true
}

/** lstat with nanoseconds, or undefined when there is nothing. Never follows a symlink at `path` itself. */
export function lstatIfAny(path: string): BigIntStats | undefined {
  try {
    return fs.lstatSync(path, { bigint: true, throwIfNoEntry: false })
  } catch (error) {
    // A name that is too long names nothing; bytes that are no UTF-8 grow threefold when they are decoded.
    const code = systemCode(error)
    if (code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined
    throw fileSystemError(error, path)
  }
}

/** Opens for reading, refusing a symlink as the last part. @returns a file descriptor the caller closes */
export function openNoFollow(path: string): number {
  try {
    return fs.openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch (error) {
    throw fileSystemError(error, path)
  }
}

/** Appends a line durable enough for a log: O_APPEND, no fsync. */
export function appendLine(path: string, line: string): void {
  try {
    fs.mkdirSync(dirname(path), { recursive: true })
    fs.appendFileSync(path, `${line}\n`)
  } catch (error) {
    throw fileSystemError(error, path)
  }
}

/** Every entry's name in the folder, or an empty list when there is none. */
export function namesIn(path: string): string[] {
  try {
    return fs.readdirSync(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return []
    throw fileSystemError(error, path)
  }
}

export const makeFolder = (path: string): void => {
  try {
    fs.mkdirSync(path, { recursive: true })
  } catch (error) {
    throw fileSystemError(error, path)
  }
}

export const pathExists = (path: string): boolean => lstatIfAny(path) !== undefined

/** Removes a file or a folder with all in it; absent is fine. */
export const removePath = (path: string): void => {
  try {
    fs.rmSync(path, { recursive: true, force: true })
  } catch (error) {
    throw fileSystemError(error, path)
  }
}

export const renamePath = (from: string, to: string): void => {
  try {
    fs.mkdirSync(dirname(to), { recursive: true })
    fs.renameSync(from, to)
    crashPoint('rename')
  } catch (error) {
    throw fileSystemError(error, to)
  }
}

/** Moves something corrupt out of the way, never deleting it. @returns where it is now */
export function setAside(path: string, badFolder: string): string {
  const to = join(badFolder, `${Date.now().toString(36)}-${toHex(randomName())}`)
  renamePath(path, to)
  return to
}

const randomName = (): Uint8Array => {
  const bytes = new Uint8Array(6)
  globalThis.crypto.getRandomValues(bytes)
  return bytes
}
