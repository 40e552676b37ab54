import * as fs from 'node:fs'
import { systemCode } from '../base/index.ts'
import { fileSystemError } from './fs.ts'

export interface FolderMember {
  readonly name: string
  readonly kind: 'file' | 'folder' | 'symlink' | 'other'
}

/** A folder's members sorted by name (UTF-16 order). Synchronous: several times faster for small files. */
export function readFolder(path: string): readonly FolderMember[] {
  let entries: fs.Dirent[]
  try {
    entries = fs.readdirSync(path, { withFileTypes: true })
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return []
    throw fileSystemError(error, path)
  }
  return entries.map((entry) => ({
    name: entry.name,
    kind: entry.isFile()
      ? 'file'
      : entry.isDirectory()
        ? 'folder'
        : entry.isSymbolicLink()
          ? 'symlink'
          : 'other',
  }))
}
