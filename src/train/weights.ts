import { concatBytes, CxvError, fromUtf8, isRecord, parseJson, utf8 } from '../base/index.ts'
import type { HostTensor, HostTensors } from './types.ts'

/*
 * The layout of safetensors (huggingface/safetensors, format version 0.x): header length as u64, a JSON
 * header, then raw little-endian numbers. @see docs/format.md#checkpoints-and-model-weights
 */

const HEADER_BYTES_MAX = 16 * 1024 * 1024
const TENSORS_MAX = 100_000
const NAME = /^[a-z][a-z0-9_./-]{0,199}$/i

export interface DecodedTensors {
  readonly tensors: HostTensors
  readonly metadata: Readonly<Record<string, string>>
}

/** Tensors in the order of their names by code unit, so that equal tensors give equal bytes. */
export function encodeWeights(
  tensors: HostTensors,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const names = Object.keys(tensors).sort()
  const header: Record<string, unknown> = {}
  if (Object.keys(metadata).length > 0) {
    header['__metadata__'] = Object.fromEntries(Object.entries(metadata).sort(byName))
  }
  const parts: Uint8Array[] = []
  let at = 0
  for (const name of names) {
    if (!NAME.test(name)) throw new Error(`not a tensor name: ${name}`)
    const { shape, data } = tensors[name]!
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + data.byteLength] }
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    at += data.byteLength
  }
  const text = JSON.stringify(header)
  const length = utf8(text).length
  // Spaces up to a multiple of 8 keep the numbers aligned for readers that map the file.
  const head = utf8(text + ' '.repeat((8 - (length % 8)) % 8))
  const size = new Uint8Array(8)
  new DataView(size.buffer).setBigUint64(0, BigInt(head.length), true)
  return concatBytes([size, head, ...parts])
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number =>
  a < b ? -1 : a > b ? 1 : 0

const invalid = (what: string): CxvError =>
  new CxvError('FORMAT_INVALID', `not model weights: ${what}`)

/**
 * Reads what `encodeWeights` writes; of safetensors files those with only F32 tensors.
 * @throws {FORMAT_INVALID} anything else: gaps, overlaps, surplus bytes, other types, odd names
 */
export function decodeWeights(bytes: Uint8Array): DecodedTensors {
  if (bytes.length < 8) throw invalid('shorter than a header')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const headerLength = view.getBigUint64(0, true)
  if (headerLength > BigInt(Math.min(HEADER_BYTES_MAX, bytes.length - 8))) {
    throw invalid('the header is longer than the file or 16 MiB')
  }
  const start = 8 + Number(headerLength)
  const header = parseHeader(bytes.subarray(8, start))
  const { __metadata__: metadata = {}, ...rest } = header
  if (!isRecord(metadata) || !Object.values(metadata).every((v) => typeof v === 'string')) {
    throw invalid('metadata holds something other than text')
  }
  const entries = Object.entries(rest).map(([name, entry]) => parseEntry(name, entry))
  if (entries.length > TENSORS_MAX) throw invalid('too many tensors')
  let end = 0
  for (const { name, from, to } of [...entries].sort((a, b) => a.from - b.from || a.to - b.to)) {
    if (from !== end) throw invalid(`tensor "${name}" does not follow the one before it`)
    end = to
  }
  if (start + end !== bytes.length) throw invalid('its length differs from what the header says')
  const tensors = entries.map(({ name, shape, from, to }) => {
    const copy = new Uint8Array(bytes.subarray(start + from, start + to))
    const tensor: HostTensor = { shape, data: new Float32Array(copy.buffer) }
    return [name, tensor] as const
  })
  return {
    tensors: Object.fromEntries(tensors),
    metadata: metadata as Readonly<Record<string, string>>,
  }
}

function parseHeader(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let header: unknown
  try {
    header = parseJson(fromUtf8(bytes))
  } catch (cause) {
    throw new CxvError('FORMAT_INVALID', 'not model weights: the header is not JSON', { cause })
  }
  if (!isRecord(header)) throw invalid('the header is not an object')
  return header
}

interface Entry {
  readonly name: string
  readonly shape: readonly number[]
  readonly from: number
  readonly to: number
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

function parseEntry(name: string, entry: unknown): Entry {
  if (!NAME.test(name)) throw invalid('a tensor has an odd name')
  if (!isRecord(entry) || entry['dtype'] !== 'F32') throw invalid(`"${name}" is not F32`)
  const { shape, data_offsets: offsets } = entry
  if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isCount)) {
    throw invalid(`"${name}" has no shape`)
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw invalid(`"${name}" has no place`)
  }
  const [from, to] = offsets as [number, number]
  const size = shape.reduce((a, b) => a * b, 1)
  if (to - from !== size * 4) throw invalid(`"${name}" has another length than its shape says`)
  return { name, shape, from, to }
}
