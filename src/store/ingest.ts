import { hash } from 'node:crypto'
import { contentId, type ContentId, CxvError, isCxvError, toHex } from '../base/index.ts'
import {
  decodeFrame,
  encodeRecipe,
  FRAME_HEADER_BYTES,
  isCompressedImage,
  type ObjectKind,
  type RecipePart,
} from '../format/index.ts'
import { WHOLE_FILE_MAX_BYTES } from './adder.ts'
import { cutPoint } from './fastcdc.ts'
import { addForeignPack } from './foreign.ts'
import type { ChunkIndex } from './level-index.ts'
import { decodeLocated, type PackFiles } from './pack-files.ts'
import { createPackWriter, type PackWriter, type PublishedPack } from './pack-writer.ts'

/** Data and meta packs, published as they are full. */
async function withWriters<T>(
  packs: string,
  onPublished: (pack: PublishedPack) => Promise<void>,
  work: (data: PackWriter, meta: PackWriter) => Promise<T>,
): Promise<T> {
  const data = createPackWriter(packs, 'data', onPublished)
  const meta = createPackWriter(packs, 'meta', onPublished)
  try {
    const result = await work(data, meta)
    await data.finish()
    await meta.finish()
    return result
  } finally {
    await data.abandon()
    await meta.abandon()
  }
}

/** @see Store.put */
export async function putBytes(
  packs: string,
  index: ChunkIndex,
  files: PackFiles,
  bytes: Uint8Array,
): Promise<ContentId> {
  const id = hash('sha256', bytes, 'buffer')
  /** The index is not believed: what it knows is read and compared. */
  const holds = async (kind: ObjectKind, of: Uint8Array, plain: Uint8Array): Promise<boolean> => {
    const [at] = await index.locate(kind, [of])
    if (at?.plainLength !== plain.length) return false
    try {
      const frame = await files.read(at.pack, at.offset, at.length)
      return Buffer.compare(decodeLocated(kind, of, at, frame), plain) === 0
    } catch (error) {
      if (isCxvError(error, 'CHUNK_CORRUPT') || isCxvError(error, 'CHUNK_MISSING')) return false
      throw error
    }
  }
  const published = (pack: PublishedPack): Promise<void> =>
    index.addPack({ ...pack, damaged: false }, pack.entries)
  await withWriters(packs, published, async (data, meta) => {
    if (bytes.length <= WHOLE_FILE_MAX_BYTES) {
      if (!(await holds('chunk', id, bytes))) meta.append('chunk', id, bytes, 0)
      return
    }
    const parts: RecipePart[] = []
    const stored = new Set<string>()
    const mayCompress = !isCompressedImage(bytes)
    for (let at = 0; at < bytes.length;) {
      const length = cutPoint(bytes, at, bytes.length)
      const plain = bytes.subarray(at, at + length)
      const part = hash('sha256', plain, 'buffer')
      parts.push({ id: part, length })
      at += length
      if (stored.has(toHex(part)) || (await holds('chunk', part, plain))) continue
      stored.add(toHex(part))
      data.append('chunk', part, plain, 0, mayCompress)
      await data.keepUp()
    }
    if (parts.length === 1) return
    const recipe = encodeRecipe(id, { size: bytes.length, parts })
    if (!(await holds('recipe', id, recipe))) meta.append('recipe', id, recipe, 0)
  })
  return contentId(toHex(id))
}

/** @see Store.importFrames */
export async function importFrames(
  packs: string,
  index: ChunkIndex,
  files: PackFiles,
  frames: AsyncIterable<Uint8Array>,
): Promise<number> {
  const published = (pack: PublishedPack): Promise<void> =>
    addForeignPack(index, files, { ...pack, damaged: false }, pack.entries)
  return withWriters(packs, published, async (data, meta) => {
    let count = 0
    for await (const bytes of frames) {
      const { entry } = decodeFrame(bytes)
      if (bytes.length !== FRAME_HEADER_BYTES + entry.storedLength) {
        throw new CxvError('PACK_CORRUPT', `bytes follow the frame of ${toHex(entry.id)}`)
      }
      const writer = entry.kind === 'chunk' ? data : meta
      const body = bytes.subarray(FRAME_HEADER_BYTES)
      writer.appendFrame({ ...entry, body }, 0)
      await writer.keepUp()
      count++
    }
    return count
  })
}
