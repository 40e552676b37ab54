import * as fs from 'node:fs'
import { CxvError, systemCode } from '../base/index.ts'
import { fileSystemError } from './fs.ts'

/**
 * Bytes `start` to `end` (exclusive) of a file, or undefined when the file is absent. For many small
 * reads of small files, where a promise each would cost more than the read.
 * @throws TOO_LARGE over `maxBytes` (default 1 GiB); FORMAT_INVALID when the file is shorter than `end`
 */
export function readRangeSync(
  path: string,
  range?: { readonly start: number; readonly end: number },
  maxBytes = 1 << 30,
): Uint8Array | undefined {
  let fd: number
  try {
    fd = fs.openSync(path, 'r')
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
    throw fileSystemError(error, path)
  }
  try {
    const start = range?.start ?? 0
    const length = (range?.end ?? fs.fstatSync(fd).size) - start
    if (length > maxBytes) {
      throw new CxvError(
        'TOO_LARGE',
        `${path}: ${length} bytes; at most ${maxBytes} were expected`,
        {
          data: { path, size: length, maxBytes },
        },
      )
    }
    const bytes = Buffer.allocUnsafeSlow(length)
    let at = 0
    while (at < length) {
      const n = fs.readSync(fd, bytes, at, length - at, start + at)
      if (n === 0) throw new CxvError('FORMAT_INVALID', `${path} is shorter than expected`)
      at += n
    }
    return bytes
  } catch (error) {
    throw fileSystemError(error, path)
  } finally {
    fs.closeSync(fd)
  }
}
