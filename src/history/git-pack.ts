import { createHash } from 'node:crypto'
import { crc32, deflateSync, inflateSync } from 'node:zlib'
import { CxvError } from '../base/index.ts'
import {
  damaged,
  type GitObject,
  MAX_OBJECT_BYTES,
  objectId,
  type ObjectType,
  type Oid,
} from './git-objects.ts'

// git's pack (version 2) and pack index (version 2): gitformat-pack(5). cxv writes whole objects only.

/** Only history lives in git packs: commits, shards, records. */
export const MAX_PACK_BYTES = 512 << 20
/** What a pack may unpack to: deflate can hide a thousandfold. */
const MAX_UNPACKED_BYTES = 8 * MAX_PACK_BYTES
const HEADER_BYTES = 12
const SHA1_BYTES = 20

const TYPE_CODES: Readonly<Record<ObjectType, number>> = { commit: 1, tree: 2, blob: 3, tag: 4 }
const TYPES: readonly (ObjectType | undefined)[] = [undefined, 'commit', 'tree', 'blob', 'tag']

/** An object as it lies in a pack: header and deflated bytes. */
export interface PackedObject {
  readonly oid: Oid
  readonly entry: Uint8Array
}

export function packObject(oid: Oid, { type, bytes }: GitObject): PackedObject {
  const head: number[] = []
  let rest = Math.floor(bytes.length / 16)
  head.push((TYPE_CODES[type] << 4) | (bytes.length & 15) | (rest > 0 ? 0x80 : 0))
  while (rest > 0) {
    const low = rest & 0x7f
    rest = Math.floor(rest / 128)
    head.push(low | (rest > 0 ? 0x80 : 0))
  }
  const body = deflateSync(bytes)
  return { oid, entry: Buffer.concat([Buffer.from(head), body]) }
}

/** @throws TOO_LARGE when the pack would be over MAX_PACK_BYTES */
export function encodePack(objects: readonly PackedObject[]): Uint8Array {
  const header = Buffer.alloc(HEADER_BYTES)
  header.write('PACK', 'latin1')
  header.writeUInt32BE(2, 4)
  header.writeUInt32BE(objects.length, 8)
  const size = objects.reduce((sum, { entry }) => sum + entry.length, HEADER_BYTES + SHA1_BYTES)
  if (size > MAX_PACK_BYTES) {
    throw new CxvError('TOO_LARGE', `a history pack of ${size} bytes; at most ${MAX_PACK_BYTES}`)
  }
  const parts = [header, ...objects.map(({ entry }) => entry)]
  const sum = createHash('sha1')
  for (const part of parts) sum.update(part)
  return Buffer.concat([...parts, sum.digest()])
}

/** The index of a pack that `encodePack` wrote, or `scanPack` accepted. */
export function encodePackIndex(
  objects: readonly IndexedObject[],
  packSum: Uint8Array,
): Uint8Array {
  const sorted = [...objects].sort((a, b) => (a.oid < b.oid ? -1 : a.oid > b.oid ? 1 : 0))
  const n = sorted.length
  const out = Buffer.alloc(8 + 1024 + n * 28 + 2 * SHA1_BYTES)
  out.writeUInt32BE(0xff744f63, 0)
  out.writeUInt32BE(2, 4)
  const counts = new Array<number>(256).fill(0)
  const oidsAt = 8 + 1024
  sorted.forEach(({ oid, crc, offset }, i) => {
    const first = parseInt(oid.slice(0, 2), 16)
    counts[first] = (counts[first] ?? 0) + 1
    out.write(oid, oidsAt + i * 20, 'hex')
    out.writeUInt32BE(crc, oidsAt + n * 20 + i * 4)
    out.writeUInt32BE(offset, oidsAt + n * 24 + i * 4)
  })
  let sum = 0
  counts.forEach((count, i) => out.writeUInt32BE((sum += count), 8 + i * 4))
  out.set(packSum, out.length - 2 * SHA1_BYTES)
  const body = out.subarray(0, out.length - SHA1_BYTES)
  out.set(createHash('sha1').update(body).digest(), out.length - SHA1_BYTES)
  return out
}

export interface IndexedObject {
  readonly oid: Oid
  readonly offset: number
  readonly crc: number
}

/** Where each object lies in a pack that `encodePack` made of exactly these. */
export function indexEntries(objects: readonly PackedObject[]): readonly IndexedObject[] {
  let offset = HEADER_BYTES
  return objects.map(({ oid, entry }) => {
    const row = { oid, offset, crc: crc32(entry) }
    offset += entry.length
    return row
  })
}

export interface PackIndex {
  readonly count: number
  /** The i-th id in order. */
  oidAt(i: number): Oid
  /** Index of the first id not below the prefix. */
  firstNotBelow(prefix: string): number
  /** Start and end of the object in the pack. */
  find(oid: Oid): { readonly start: number; readonly end: number } | undefined
  /** Where the entry that begins at `start` ends. */
  endOf(start: number): number
}

/** @throws FORMAT_INVALID */
export function decodePackIndex(bytes: Uint8Array, packSize: number): PackIndex {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  if (
    buffer.length < 1072 ||
    buffer.readUInt32BE(0) !== 0xff744f63 ||
    buffer.readUInt32BE(4) !== 2
  ) {
    throw damaged('a pack index is not one of git version 2')
  }
  const count = buffer.readUInt32BE(8 + 255 * 4)
  const oidsAt = 8 + 1024
  const offsetsAt = oidsAt + count * 24
  if (offsetsAt + count * 4 + 2 * SHA1_BYTES > buffer.length)
    throw damaged('a pack index is cut short')
  const oidAt = (i: number): Oid => buffer.toString('hex', oidsAt + i * 20, oidsAt + i * 20 + 20)
  const firstNotBelow = (prefix: string): number => {
    const first = parseInt(prefix.slice(0, 2), 16)
    const wanted = Buffer.from(prefix.padEnd(40, '0'), 'hex')
    let low = first === 0 ? 0 : buffer.readUInt32BE(8 + (first - 1) * 4)
    let high = buffer.readUInt32BE(8 + first * 4)
    if (low > high || high > count) throw damaged('a pack index has a bad fan-out')
    while (low < high) {
      const middle = (low + high) >> 1
      const at = oidsAt + middle * 20
      if (buffer.compare(wanted, 0, 20, at, at + 20) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
  let sortedOffsets: Uint32Array | undefined
  const endOf = (start: number): number => {
    if (sortedOffsets === undefined) {
      sortedOffsets = new Uint32Array(count)
      for (let i = 0; i < count; i++) sortedOffsets[i] = buffer.readUInt32BE(offsetsAt + i * 4)
      sortedOffsets.sort()
    }
    let low = 0
    let high = count
    while (low < high) {
      const middle = (low + high) >> 1
      if ((sortedOffsets[middle] ?? 0) <= start) low = middle + 1
      else high = middle
    }
    return sortedOffsets[low] ?? packSize - SHA1_BYTES
  }
  return {
    count,
    oidAt,
    firstNotBelow,
    find(oid) {
      const i = firstNotBelow(oid)
      if (i >= count || oidAt(i) !== oid) return undefined
      const start = buffer.readUInt32BE(offsetsAt + i * 4)
      const end = endOf(start)
      if (start < HEADER_BYTES || end > packSize - SHA1_BYTES || end <= start) {
        throw damaged('a pack index points outside its pack')
      }
      return { start, end }
    },
    endOf,
  }
}

interface EntryHead {
  /** Undefined: a delta, which only git itself writes. */
  readonly type: ObjectType | undefined
  /** The base of a delta lies at an offset before it, or is named by its id. */
  readonly delta: 'offset' | 'id' | undefined
  readonly size: number
  readonly bodyAt: number
}

/** @throws FORMAT_INVALID when the entry is cut short, of an unknown type, or over MAX_OBJECT_BYTES */
export function entryHead(bytes: Uint8Array, at: number): EntryHead {
  let byte = bytes[at]
  if (byte === undefined) throw damaged('a pack is cut short')
  const code = (byte >> 4) & 7
  let size = byte & 15
  let scale = 16
  let next = at + 1
  while ((byte & 0x80) !== 0) {
    byte = bytes[next++]
    if (byte === undefined) throw damaged('a pack is cut short')
    size += (byte & 0x7f) * scale
    scale *= 128
    if (size > MAX_OBJECT_BYTES) throw damaged('a pack has an object that is too large')
  }
  if (code === 0 || code === 5) throw damaged('a pack has an object of unknown type')
  const delta = code === 6 ? 'offset' : code === 7 ? 'id' : undefined
  return { type: TYPES[code], delta, size, bodyAt: next }
}

/**
 * Inflates exactly `size` bytes, never more.
 * @returns the bytes, and how many deflated bytes they took
 * @throws FORMAT_INVALID
 */
export function inflateExactly(
  bytes: Uint8Array,
  size: number,
): { readonly bytes: Uint8Array; readonly used: number } {
  let result: { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } }
  try {
    // `info` makes zlib return its engine as well, which the types do not say.
    result = inflateSync(bytes, {
      info: true,
      maxOutputLength: Math.max(1, size),
    }) as unknown as typeof result
  } catch (cause) {
    throw damaged('an object of the history does not inflate', cause)
  }
  if (result.buffer.length !== size) throw damaged('an object of the history has the wrong size')
  return { bytes: result.buffer, used: result.engine.bytesWritten }
}

/**
 * Reads a pack from outside, object by object, holding one at a time.
 * @throws FORMAT_INVALID for anything but whole objects under a right checksum; TOO_LARGE
 */
export function* scanPack(
  pack: Uint8Array,
): Generator<{ readonly object: GitObject; readonly at: IndexedObject }> {
  if (pack.length > MAX_PACK_BYTES) {
    throw new CxvError(
      'TOO_LARGE',
      `a history pack of ${pack.length} bytes; at most ${MAX_PACK_BYTES}`,
    )
  }
  const buffer = Buffer.from(pack.buffer, pack.byteOffset, pack.length)
  const end = buffer.length - SHA1_BYTES
  if (
    end < HEADER_BYTES ||
    buffer.toString('latin1', 0, 4) !== 'PACK' ||
    buffer.readUInt32BE(4) !== 2
  ) {
    throw damaged('not a git pack of version 2')
  }
  const sum = createHash('sha1').update(buffer.subarray(0, end)).digest()
  if (Buffer.compare(sum, buffer.subarray(end)) !== 0) {
    throw damaged('a history pack does not match its checksum')
  }
  const count = buffer.readUInt32BE(8)
  let at = HEADER_BYTES
  let unpacked = 0
  for (let i = 0; i < count; i++) {
    const head = entryHead(buffer.subarray(0, end), at)
    if (head.type === undefined) throw damaged('a history pack has a delta; cxv writes none')
    unpacked += head.size
    if (unpacked > MAX_UNPACKED_BYTES) throw damaged('a history pack unpacks to too many bytes')
    const body = inflateExactly(buffer.subarray(head.bodyAt, end), head.size)
    const next = head.bodyAt + body.used
    const oid = objectId(head.type, body.bytes)
    yield {
      object: { type: head.type, bytes: body.bytes },
      at: { oid, offset: at, crc: crc32(buffer.subarray(at, next)) },
    }
    at = next
  }
  if (at !== end) throw damaged('a history pack has bytes after its last object')
}

/** The object that lies at the start of these bytes; undefined for a delta. @throws FORMAT_INVALID */
export function objectAt(bytes: Uint8Array): PackedObject | undefined {
  const { type, size, bodyAt } = entryHead(bytes, 0)
  if (type === undefined) return undefined
  if (size > MAX_OBJECT_BYTES) throw damaged('an object is too large')
  const body = inflateExactly(bytes.subarray(bodyAt), size)
  return { oid: objectId(type, body.bytes), entry: bytes.subarray(0, bodyAt + body.used) }
}
