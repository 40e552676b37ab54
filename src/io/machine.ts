import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import { fileSystemError } from './fs.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** The program's path by `PATH`, or undefined. */
export function findProgram(env: Environment, name: string): string | undefined {
  for (const folder of (env['PATH'] ?? '').split(':')) {
    if (folder === '') continue
    const path = join(folder, name)
    try {
      fs.accessSync(path, fs.constants.X_OK)
      if (fs.statSync(path).isFile()) return path
    } catch {
      // Not here: the next folder.
    }
  }
  return undefined
}

/** Bytes a user may still write where `path` is or will be. */
export function freeDiskBytes(path: string): number {
  let at = path
  while (!fs.existsSync(at) && dirname(at) !== at) at = dirname(at)
  try {
    const { bavail, bsize } = fs.statfsSync(at)
    return bavail * bsize
  } catch (error) {
    throw fileSystemError(error, at)
  }
}

/** Bytes of all files below the folder; links are not followed, files that vanish meanwhile count nothing. */
export function folderBytes(path: string): number {
  let sum = 0
  let entries: fs.Dirent[]
  try {
    entries = fs.readdirSync(path, { withFileTypes: true })
  } catch {
    return 0
  }
  for (const entry of entries) {
    const child = join(path, entry.name)
    if (entry.isDirectory()) sum += folderBytes(child)
    else if (entry.isFile()) sum += fs.statSync(child, { throwIfNoEntry: false })?.size ?? 0
  }
  return sum
}

/** The text of a small file, or undefined when it is absent, unreadable or larger than `maxBytes`. */
export function readTextIfAny(path: string, maxBytes = 1 << 20): string | undefined {
  try {
    if (fs.statSync(path).size > maxBytes) return undefined
    return fs.readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

export function makeSymlink(target: string, path: string): void {
  try {
    fs.symlinkSync(target, path)
  } catch (error) {
    throw fileSystemError(error, path)
  }
}

/** The path with every link resolved, or undefined when there is nothing. */
export function realPathIfAny(path: string): string | undefined {
  try {
    return fs.realpathSync(path)
  } catch {
    return undefined
  }
}
