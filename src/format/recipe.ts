import { createHash } from 'node:crypto'
import { CxvError, equalBytes } from '../base/index.ts'
import { CHUNK_MAX_BYTES } from './chunk-codec.ts'

/** One chunk of a larger file, in file order. */
export interface RecipePart {
  /** SHA-256 of the chunk, 32 bytes. */
  readonly id: Uint8Array
  readonly length: number
}

/** The ordered chunk list of a file over 1 MiB. */
export interface Recipe {
  readonly size: number
  readonly parts: readonly RecipePart[]
}

const VERSION = 1
const HEAD_BYTES = 16
const PART_BYTES = 36
const CHECK_BYTES = 32
/** 466,000 chunks: files to about 500 GB. */
export const RECIPE_MAX_BYTES = 16 << 20

/**
 * @param contentId SHA-256 of the whole file, 32 bytes: bound into the recipe's own checksum
 * @throws CxvError TOO_LARGE when the file has more chunks than a recipe holds
 */
export function encodeRecipe(contentId: Uint8Array, recipe: Recipe): Uint8Array {
  const length = HEAD_BYTES + recipe.parts.length * PART_BYTES + CHECK_BYTES
  if (length > RECIPE_MAX_BYTES) {
    throw new CxvError('TOO_LARGE', `a file of ${recipe.size} bytes has too many chunks`)
  }
  const out = new Uint8Array(length)
  const view = new DataView(out.buffer)
  out[0] = VERSION
  view.setUint32(4, recipe.parts.length, true)
  view.setBigUint64(8, BigInt(recipe.size), true)
  let at = HEAD_BYTES
  for (const part of recipe.parts) {
    out.set(part.id, at)
    view.setUint32(at + 32, part.length, true)
    at += PART_BYTES
  }
  out.set(checksum(contentId, out.subarray(0, at)), at)
  return out
}

/** @throws CxvError FORMAT_INVALID unless the bytes are the one encoding of a recipe for this content */
export function decodeRecipe(contentId: Uint8Array, bytes: Uint8Array): Recipe {
  if (bytes.length < HEAD_BYTES + CHECK_BYTES || bytes.length > RECIPE_MAX_BYTES) {
    throw invalid('its length is out of bounds')
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes[0] !== VERSION) throw invalid(`version ${bytes[0]} is unknown`)
  if (bytes[1] !== 0 || bytes[2] !== 0 || bytes[3] !== 0)
    throw invalid('its reserved bytes are set')
  const count = view.getUint32(4, true)
  if (count === 0 || HEAD_BYTES + count * PART_BYTES + CHECK_BYTES !== bytes.length) {
    throw invalid('its count does not fit its length')
  }
  const end = bytes.length - CHECK_BYTES
  if (!equalBytes(checksum(contentId, bytes.subarray(0, end)), bytes.subarray(end))) {
    throw invalid('its checksum does not match')
  }
  const parts: RecipePart[] = []
  let size = 0
  for (let at = HEAD_BYTES; at < end; at += PART_BYTES) {
    const length = view.getUint32(at + 32, true)
    if (length === 0 || length > CHUNK_MAX_BYTES) throw invalid('a chunk length is out of bounds')
    parts.push({ id: new Uint8Array(bytes.subarray(at, at + 32)), length })
    size += length
  }
  if (view.getBigUint64(8, true) !== BigInt(size)) throw invalid('its chunks do not add up')
  return { size, parts }
}

const checksum = (contentId: Uint8Array, body: Uint8Array): Uint8Array =>
  createHash('sha256').update(contentId).update(body).digest()

const invalid = (why: string): CxvError => new CxvError('FORMAT_INVALID', `bad recipe: ${why}`)
