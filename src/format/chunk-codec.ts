import * as zlib from 'node:zlib'
import { CxvError } from '../base/index.ts'

/** The largest chunk; its parameter is part of the format version. */
export const CHUNK_MAX_BYTES = 4 << 20

/** How a frame's body is written. The number is the codec byte. */
export const CODECS = { stored: 0, deflate: 1, zstd: 2 } as const
export type Codec = keyof typeof CODECS

/** @returns undefined when no codec has that byte */
export function codecOfByte(byte: number): Codec | undefined {
  if (byte === CODECS.stored) return 'stored'
  if (byte === CODECS.deflate) return 'deflate'
  return byte === CODECS.zstd ? 'zstd' : undefined
}

/** Bodies under this are stored: what deflate could save is less than the frame's header. */
const COMPRESS_FROM_BYTES = 256
const PROBE_BYTES = 1024
/**
 * Bits per byte above which bytes are taken for compressed or encrypted. Random bytes, PNG and JPEG
 * estimate at 7.8 and more; 16-bit pixels, text and bitmaps below 7.
 */
const INCOMPRESSIBLE_BITS = 7.5
const DEFLATE_LEVEL = 3
/** A compressed body must save at least this share, or reading it back is not worth the time. */
const WORTH_RATIO = 0.95

export interface EncodedBody {
  readonly codec: Codec
  readonly bytes: Uint8Array
}

/** Stores or deflates, whichever the bytes deserve. `stored` gives the same array back, not a copy. */
export function encodeBody(plain: Uint8Array, mayCompress = true): EncodedBody {
  if (mayCompress && looksCompressible(plain)) {
    const bytes = zlib.deflateRawSync(plain, { level: DEFLATE_LEVEL })
    if (bytes.length < plain.length * WORTH_RATIO) return { codec: 'deflate', bytes }
  }
  return { codec: 'stored', bytes: plain }
}

/**
 * The plain bytes of a body. Allocates at most `plainLength`, which the caller has bounded.
 * A stored body is given back as a view.
 * @throws CxvError FORMAT_INVALID when the body does not decode to exactly `plainLength` bytes
 */
export function decodeBody(codec: Codec, body: Uint8Array, plainLength: number): Uint8Array {
  switch (codec) {
    case 'stored':
      if (body.length !== plainLength) throw invalid('a stored body has another length')
      return body
    case 'deflate':
      return inflateExactly(body, plainLength)
    case 'zstd':
      return unzstdExactly(body, plainLength)
  }
}

function inflateExactly(body: Uint8Array, plainLength: number): Uint8Array {
  let out: { buffer: Uint8Array; engine: { bytesWritten: number } }
  try {
    // `info` gives the engine as well: how much of the body it read.
    out = zlib.inflateRawSync(body, {
      maxOutputLength: Math.max(1, plainLength),
      info: true,
    }) as unknown as typeof out
  } catch (cause) {
    throw invalid('a deflated body does not inflate', cause)
  }
  if (out.buffer.length !== plainLength) throw invalid('a deflated body has another length')
  if (out.engine.bytesWritten !== body.length) throw invalid('bytes follow a deflated body')
  return out.buffer
}

type Unzstd = (bytes: Uint8Array, options: { readonly maxOutputLength: number }) => Uint8Array

function unzstdExactly(body: Uint8Array, plainLength: number): Uint8Array {
  const unzstd = (zlib as unknown as { readonly zstdDecompressSync?: Unzstd }).zstdDecompressSync
  if (unzstd === undefined) {
    throw new CxvError('FORMAT_INVALID', 'a chunk is compressed with zstd', {
      hint: 'this Node.js cannot read zstd: use Node.js 22.15 or later',
    })
  }
  let plain: Uint8Array
  try {
    plain = unzstd(body, { maxOutputLength: Math.max(1, plainLength) })
  } catch (cause) {
    throw invalid('a zstd body does not decode', cause)
  }
  if (plain.length !== plainLength) throw invalid('a zstd body has another length')
  return plain
}

const invalid = (message: string, cause?: unknown): CxvError =>
  new CxvError('FORMAT_INVALID', message, { cause })

/** Whether a file that starts with these bytes is a PNG or a JPEG: compressed already, stored as it is. */
export function isCompressedImage(start: Uint8Array): boolean {
  if (start.length < 4) return false
  if (start[0] === 0x89 && start[1] === 0x50 && start[2] === 0x4e && start[3] === 0x47) return true
  return start[0] === 0xff && start[1] === 0xd8 && start[2] === 0xff
}

const counts = new Uint16Array(256)
/** n log2 n */
const N_LOG_N = Float64Array.from(
  { length: PROBE_BYTES + 1 },
  (_, n) => n * Math.log2(Math.max(1, n)),
)

/**
 * Estimates order-0 entropy on a sample from the middle (Miller-Madow corrected): 1 µs. A probe by
 * deflate itself costs 60 µs, more than all else that a 2 KB file costs.
 */
function looksCompressible(plain: Uint8Array): boolean {
  if (plain.length < COMPRESS_FROM_BYTES || isCompressedImage(plain)) return false
  const n = Math.min(PROBE_BYTES, plain.length)
  const from = (plain.length - n) >> 1
  counts.fill(0)
  for (let i = from; i < from + n; i++) counts[plain[i] ?? 0]!++
  let sum = 0
  let seen = 0
  for (let byte = 0; byte < 256; byte++) {
    const count = counts[byte]!
    if (count > 0) seen++
    sum += N_LOG_N[count]!
  }
  return Math.log2(n) - sum / n + (seen - 1) / (2 * n * Math.LN2) < INCOMPRESSIBLE_BITS
}
