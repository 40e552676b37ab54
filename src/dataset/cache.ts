import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import {
  canonicalJson,
  concatBytes,
  contentId,
  type ContentId,
  fromHex,
  toHex,
  utf8,
} from '../base/index.ts'
import type { ImageConfig } from '../format/types.ts'
import { namesIn, readFileIfAny, removePath, writeFileAtomic } from '../io/index.ts'

/** Decoded images by content id: uint8 [H, W, C] of one transform. Safe to delete, safe for two processes. */
export interface DecodedCache {
  /** The images among these that are cached and whole. */
  load(ids: ReadonlySet<ContentId>): Promise<Map<ContentId, Uint8Array>>
  /** Writes a segment; a killed process leaves none or a whole one. */
  save(images: ReadonlyMap<ContentId, Uint8Array>): void
}

const MAGIC = utf8('CXVD0001')
const HEADER = 16
/** docs/format.md, "The decoded cache" */
const RECORD_EXTRA = 32 + 4

/** Names the transform: another size, resize rule or version of the decoder gives another folder. */
export const transformId = (image: ImageConfig): string =>
  createHash('sha256')
    .update(
      canonicalJson({
        decoder: 2,
        size: image.size,
        channels: image.channels,
        resize: image.resize,
      }),
    )
    .digest('hex')
    .slice(0, 16)

export function openDecodedCache(cacheFolder: string, image: ImageConfig): DecodedCache {
  const folder = join(cacheFolder, 'decoded', transformId(image))
  const imageBytes = image.size[0] * image.size[1] * image.channels
  const recordBytes = imageBytes + RECORD_EXTRA
  return {
    async load(ids) {
      const found = new Map<ContentId, Uint8Array>()
      for (const name of namesIn(folder)) {
        if (!/^[0-9a-f]{32}\.seg$/.test(name)) continue
        const bytes = await readFileIfAny(join(folder, name), 1 << 30)
        if (bytes === undefined) continue
        if (!readSegment(bytes, recordBytes, ids, found)) removePath(join(folder, name))
      }
      return found
    },
    save(images) {
      if (images.size === 0) return
      const header = new Uint8Array(HEADER)
      header.set(MAGIC)
      new DataView(header.buffer).setUint32(8, recordBytes, true)
      new DataView(header.buffer).setUint32(12, images.size, true)
      const parts: Uint8Array[] = [header]
      for (const [id, pixels] of images) {
        const extra = new Uint8Array(RECORD_EXTRA)
        extra.set(fromHex(id))
        new DataView(extra.buffer).setUint32(32, crc32(pixels), true)
        parts.push(extra, pixels)
      }
      const name = createHash('sha256')
        .update([...images.keys()].join())
        .digest('hex')
        .slice(0, 32)
      writeFileAtomic(join(folder, `${name}.seg`), concatBytes(parts))
    },
  }
}

/** @returns false when the segment is damaged and should go */
function readSegment(
  bytes: Uint8Array,
  recordBytes: number,
  wanted: ReadonlySet<ContentId>,
  found: Map<ContentId, Uint8Array>,
): boolean {
  if (bytes.length < HEADER || Buffer.compare(bytes.subarray(0, 8), MAGIC) !== 0) return false
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const count = view.getUint32(12, true)
  if (view.getUint32(8, true) !== recordBytes || bytes.length !== HEADER + count * recordBytes)
    return false
  for (let i = 0; i < count; i++) {
    const at = HEADER + i * recordBytes
    const id = contentId(toHex(bytes.subarray(at, at + 32)))
    const pixels = bytes.subarray(at + RECORD_EXTRA, at + recordBytes)
    if (crc32(pixels) !== view.getUint32(at + 32, true)) return false
    if (wanted.has(id) && !found.has(id)) found.set(id, pixels.slice())
  }
  return true
}
