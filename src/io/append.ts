import * as fs from 'node:fs'
import { dirname } from 'node:path'
import { crashPoint } from './crash-point.ts'
import { fileSystemError, syncFolder, writeAll } from './fs.ts'

/**
 * Appends a line and makes it durable. A torn last line, left by a crash, is ended first, so that it
 * cannot swallow this one.
 */
export function appendLineDurable(path: string, line: string): void {
  try {
    fs.mkdirSync(dirname(path), { recursive: true })
    const fd = fs.openSync(path, 'a+', 0o644)
    try {
      const { size } = fs.fstatSync(fd)
      const last = Buffer.alloc(1)
      if (size > 0) fs.readSync(fd, last, 0, 1, size - 1)
      const torn = size > 0 && last[0] !== 0x0a
      writeAll(fd, Buffer.from(`${torn ? '\n' : ''}${line}\n`))
      crashPoint('write')
      fs.fsyncSync(fd)
      if (size === 0) syncFolder(dirname(path))
    } finally {
      fs.closeSync(fd)
    }
    crashPoint('sync')
  } catch (error) {
    throw fileSystemError(error, path)
  }
}
