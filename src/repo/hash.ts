import { createHash } from 'node:crypto'
import { contentId, type ContentId } from '../base/index.ts'
import { closeFile, openNoFollow, readInto } from '../io/index.ts'

const PIECE = new Uint8Array(1 << 20)

/** SHA-256 of a file's bytes, or undefined when there is no file to read. */
export function hashFile(absolutePath: string): ContentId | undefined {
  let fd: number
  try {
    fd = openNoFollow(absolutePath)
  } catch {
    return undefined
  }
  try {
    const hash = createHash('sha256')
    for (let at = 0; ;) {
      const n = readInto(fd, PIECE, at)
      if (n === 0) break
      hash.update(PIECE.subarray(0, n))
      at += n
    }
    return contentId(hash.digest('hex'))
  } finally {
    closeFile(fd)
  }
}
