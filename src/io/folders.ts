import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import { systemCode } from '../base/index.ts'
import { fileSystemError } from './fs.ts'

/** Removes `folder` and its parents up to but not including `top`, as long as they are empty. */
export function removeEmptyFolders(folder: string, top: string): void {
  let at = folder
  while (at.length > top.length && at.startsWith(top)) {
    try {
      fs.rmdirSync(at)
    } catch {
      return
    }
    at = dirname(at)
  }
}

/** Every file under the folder, as paths relative to it with `/`; symlinks are not followed. */
export function filesUnder(folder: string): string[] {
  const found: string[] = []
  const visit = (at: string, prefix: string): void => {
    let entries: fs.Dirent[]
    try {
      entries = fs.readdirSync(at, { withFileTypes: true })
    } catch {
      return
    }
    for (const entry of entries) {
      const path = `${prefix}${entry.name}`
      if (entry.isDirectory()) visit(`${at}/${entry.name}`, `${path}/`)
      else if (entry.isFile()) found.push(path)
    }
  }
  visit(folder, '')
  return found
}

/** Everything under the folder that is no folder, links and sockets too, as paths relative to it with `/`. */
export function leavesUnder(folder: string): string[] {
  const found: string[] = []
  const visit = (prefix: string): void => {
    const at = join(folder, prefix)
    try {
      for (const entry of fs.readdirSync(at, { withFileTypes: true })) {
        if (entry.isDirectory()) visit(`${prefix}${entry.name}/`)
        else found.push(`${prefix}${entry.name}`)
      }
    } catch (error) {
      throw fileSystemError(error, at)
    }
  }
  visit('')
  return found
}

/** Removes a folder that holds nothing but folders; absent is fine. A file in it is an error, and stays. */
export function removeHollowFolder(folder: string): void {
  try {
    for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) removeHollowFolder(join(folder, entry.name))
    }
    fs.rmdirSync(folder)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    throw fileSystemError(error, folder)
  }
}

/** Whether a folder is there, be it through links. */
export const isFolder = (path: string): boolean =>
  fs.statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
