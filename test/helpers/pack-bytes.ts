import { createHash } from 'node:crypto'
import { packId, type PackId } from '../../src/base/index.ts'
import {
  checkPack,
  CHUNK_MAX_BYTES,
  createPackNamer,
  encodePackHeader,
  encodeRecipe,
  encodeTable,
  type FrameToWrite,
  FRAME_HEADER_BYTES,
  PACK_HEADER_BYTES,
  type PackEntry,
  type PackKind,
  writeFrame,
} from '../../src/format/index.ts'

const sha = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()

const NO_ID = packId('0'.repeat(64))

/** The table of a pack; its frames and its name are not looked at. @throws CxvError PACK_CORRUPT */
export const packTable = (bytes: Uint8Array): readonly PackEntry[] =>
  checkPack(NO_ID, bytes.length, (offset, length) => bytes.subarray(offset, offset + length))
    .entries

/** A pack in memory from frames. */
export function encodePack(
  kind: PackKind,
  frames: readonly FrameToWrite[],
): { readonly id: PackId; readonly bytes: Uint8Array<ArrayBuffer> } {
  const size = frames.reduce(
    (sum, f) => sum + FRAME_HEADER_BYTES + f.body.length,
    PACK_HEADER_BYTES,
  )
  const body = new Uint8Array(size)
  body.set(encodePackHeader(kind))
  const entries: PackEntry[] = []
  const namer = createPackNamer(kind)
  let at = PACK_HEADER_BYTES
  for (const frame of frames) {
    const { kind: of, codec, id, plainLength } = frame
    entries.push({ kind: of, codec, id, offset: at, storedLength: frame.body.length, plainLength })
    namer.add(frame)
    at += writeFrame(body, at, frame)
  }
  const table = encodeTable(entries)
  const bytes = new Uint8Array(Buffer.concat([body, table]))
  return { id: namer.name(table), bytes }
}

/**
 * A pack that passes every check of a pack. Without chunks, the content is one; with chunks, they and
 * a recipe that says they make up `contentOf`, true or not.
 */
export function createPackBytes(
  contents: readonly { readonly contentOf: Uint8Array; readonly chunks: readonly Uint8Array[] }[],
): { readonly id: PackId; readonly bytes: Uint8Array<ArrayBuffer> } {
  const frames: FrameToWrite[] = []
  const chunk = (bytes: Uint8Array): void => {
    frames.push({
      kind: 'chunk',
      codec: 'stored',
      id: sha(bytes),
      body: bytes,
      plainLength: bytes.length,
    })
  }
  for (const { contentOf, chunks } of contents) {
    if (chunks.length === 0) {
      chunk(contentOf)
      continue
    }
    for (const bytes of chunks) chunk(bytes.subarray(0, CHUNK_MAX_BYTES))
    const parts = chunks.map((bytes) => ({ id: sha(bytes), length: bytes.length }))
    const size = parts.reduce((sum, part) => sum + part.length, 0)
    const body = encodeRecipe(sha(contentOf), { size, parts })
    frames.push({
      kind: 'recipe',
      codec: 'stored',
      id: sha(contentOf),
      body,
      plainLength: body.length,
    })
  }
  return encodePack('data', frames)
}
