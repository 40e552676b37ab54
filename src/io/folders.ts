import * as fs from 'node:fs'
import { dirname } from 'node:path'

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
