import { constants, type Stats } from 'node:fs'
import * as fsp from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { systemCode } from '../base/index.ts'
import { crashPoint } from './crash-point.ts'
import { fileSystemError, lstatIfAny } from './fs.ts'

/** What tells one version of a file from the next without reading it. */
export interface FileFacts {
  readonly size: number
  readonly mtimeMs: number
  readonly ino: number
}

const factsOf = (stat: Stats): FileFacts => ({
  size: stat.size,
  mtimeMs: stat.mtimeMs,
  ino: stat.ino,
})

/** Not zeroed: every byte is written by the read, or the read throws. Not from node's shared pool. */
const newBytes = (length: number): Uint8Array => {
  const bytes = Buffer.allocUnsafeSlow(length)
  return new Uint8Array(bytes.buffer, bytes.byteOffset, length)
}

const isAbsent = (error: unknown): boolean =>
  systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR'

/** A regular file open for reading, never through a symlink as the last part. Undefined when there is none. */
export async function openForReading(path: string): Promise<
  | {
      readonly facts: FileFacts
      /**
       * Exactly `length` bytes from `offset`, into `into` when it is given and large enough.
       * @throws RangeError when the file ends before
       */
      read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array>
      close(): Promise<void>
    }
  | undefined
> {
  let handle: fsp.FileHandle
  try {
    handle = await fsp.open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw fileSystemError(error, path)
  }
  const stat = await handle.stat()
  if (!stat.isFile()) {
    await handle.close()
    return undefined
  }
  return {
    facts: factsOf(stat),
    async read(offset, length, into) {
      if (offset + length > stat.size) {
        throw new RangeError(`${path} has ${stat.size} bytes, ${offset}+${length} were asked for`)
      }
      const fits = into !== undefined && into.length >= length
      const bytes = fits ? into.subarray(0, length) : newBytes(length)
      let at = 0
      while (at < length) {
        const { bytesRead } = await handle.read(bytes, at, length - at, offset + at)
        if (bytesRead === 0) throw new RangeError(`${path} became shorter while it was read`)
        at += bytesRead
      }
      return bytes
    },
    close: () => handle.close(),
  }
}

/**
 * Writes the bytes to `temp`, syncs, and renames over `path`; both folders exist. Durable when it
 * resolves. @returns the facts of the file as it is now
 */
export async function publishFile(
  temp: string,
  path: string,
  bytes: Uint8Array,
): Promise<FileFacts> {
  try {
    const handle = await fsp.open(temp, 'wx', 0o644)
    let facts: FileFacts
    try {
      let at = 0
      while (at < bytes.length) at += (await handle.write(bytes, at)).bytesWritten
      crashPoint('write')
      await handle.sync()
      facts = factsOf(await handle.stat())
    } finally {
      await handle.close()
    }
    crashPoint('sync')
    await fsp.rename(temp, path)
    crashPoint('rename')
    await syncFolderBehind(dirname(path))
    return facts
  } catch (error) {
    await fsp.rm(temp, { force: true })
    throw error
  }
}

/** As `syncFolder`, without blocking this thread. */
export async function syncFolderBehind(path: string): Promise<void> {
  const folder = await fsp.open(path, 'r').catch(() => undefined)
  // Some file systems refuse to sync a folder; the rename is then as durable as they make it.
  await folder?.sync().catch(() => undefined)
  await folder?.close()
}

/** Makes one folder, durable. False when something of that name was there. */
export function makeOneFolder(path: string): Promise<boolean> {
  return fsp.mkdir(path).then(
    async () => {
      await syncFolderBehind(dirname(path))
      return true
    },
    (error: unknown) => {
      if (systemCode(error) === 'EEXIST') return false
      throw error
    },
  )
}

/** Removes a file (false when there was none), or throws the system's error. */
export async function removeFileIfAny(path: string): Promise<boolean> {
  try {
    await fsp.unlink(path)
  } catch (error) {
    if (isAbsent(error)) return false
    throw fileSystemError(error, path)
  }
  await syncFolderBehind(dirname(path))
  return true
}

/** Removes the folder if nothing is in it. */
export const removeFolderIfEmpty = (path: string): Promise<boolean> =>
  fsp.rmdir(path).then(
    () => true,
    () => false,
  )

export interface FolderEntry {
  readonly name: string
  readonly kind: 'file' | 'folder' | 'other'
}

/** What is in the folder; nothing when there is no such folder. Symlinks are `other`. */
export async function entriesIn(path: string): Promise<FolderEntry[]> {
  try {
    const entries = await fsp.readdir(path, { withFileTypes: true })
    return entries.map((e) => ({
      name: e.name,
      kind: e.isFile() ? 'file' : e.isDirectory() ? 'folder' : 'other',
    }))
  } catch (error) {
    if (isAbsent(error)) return []
    throw fileSystemError(error, path)
  }
}

export async function fileFactsIfAny(path: string): Promise<FileFacts | undefined> {
  try {
    const stat = await fsp.lstat(path)
    return stat.isFile() ? factsOf(stat) : undefined
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw fileSystemError(error, path)
  }
}

/**
 * Whether `root/parts...` is reached through real folders only.
 * `absent`: one is missing. `symlink`: one is a link or no folder. The root itself may be a link.
 */
export function pathThroughFolders(
  root: string,
  parts: readonly string[],
): 'folders' | 'absent' | 'symlink' {
  let path = root
  for (const part of parts) {
    path = join(path, part)
    const stat = lstatIfAny(path)
    if (stat === undefined) return 'absent'
    if (!stat.isDirectory()) return 'symlink'
  }
  return 'folders'
}
