import { createHash, hash } from 'node:crypto'
import { CxvError, equalBytes, packId, type PackId, toHex } from '../base/index.ts'
import { CHUNK_MAX_BYTES, CODECS, type Codec, codecOfByte, decodeBody } from './chunk-codec.ts'
import { quickHash } from './quick-check.ts'
import { decodeRecipe, RECIPE_MAX_BYTES } from './recipe.ts'

/** What a frame holds: a run of file bytes, or the ordered chunk list of a larger file. */
export type ObjectKind = 'chunk' | 'recipe'
/** `data`: bytes of files. `meta`: recipes and small records. */
export type PackKind = 'data' | 'meta'

export const PACK_HEADER_BYTES = 8
export const FRAME_HEADER_BYTES = 56
/** A writer closes a pack before it would grow over this. */
export const PACK_TARGET_BYTES = 32 << 20
/** A reader refuses packs over this. */
export const PACK_MAX_BYTES = 64 << 20
export const PACK_MAX_FRAMES = 1 << 16
export const PACK_FOOTER_BYTES = 24
/** Bytes of one frame's entry in the table. */
export const TABLE_ENTRY_BYTES = 48

/** 1 was named by the SHA-256 of all its bytes; 2 had frames of version 1. */
const PACK_VERSION = 3
/** In 1 the quick check of a stored chunk covered its body too. */
const FRAME_VERSION = 2
// Read as little-endian 32-bit integers: `cxvp`, `cxvf`.
const PACK_MAGIC = 0x70767863
const FRAME_MAGIC = 0x66767863
const FRAME_MAGIC_BYTES = Uint8Array.from([0x63, 0x78, 0x76, 0x66])
/** `cxvtable` */
const FOOTER_MAGIC = 0x656c626174767863n
const CHECK_AT = 48

/** A frame as its pack's table tells it. */
export interface PackEntry {
  readonly kind: ObjectKind
  readonly codec: Codec
  /** SHA-256 of the plain bytes (chunk) or of the whole file (recipe), 32 bytes. */
  readonly id: Uint8Array
  /** Byte offset of the frame in the pack. */
  readonly offset: number
  /** Bytes of the body in the pack, header excluded. */
  readonly storedLength: number
  readonly plainLength: number
}

export interface FrameToWrite {
  readonly kind: ObjectKind
  readonly codec: Codec
  readonly id: Uint8Array
  readonly body: Uint8Array
  readonly plainLength: number
}

export const maxPlainLength = (kind: ObjectKind): number =>
  kind === 'chunk' ? CHUNK_MAX_BYTES : RECIPE_MAX_BYTES

/** Bytes of the whole frame, header included. */
export const frameLength = (entry: Pick<PackEntry, 'storedLength'>): number =>
  FRAME_HEADER_BYTES + entry.storedLength

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Not `slice`: a Buffer's is no copy, and an id must not keep its whole pack alive. */
const copyOf = (bytes: Uint8Array, from: number, to: number): Uint8Array =>
  new Uint8Array(bytes.subarray(from, to))

const corrupt = (why: string, cause?: unknown): CxvError =>
  new CxvError('PACK_CORRUPT', `damaged pack: ${why}`, { cause })

export function encodePackHeader(kind: PackKind): Uint8Array {
  const out = new Uint8Array(PACK_HEADER_BYTES)
  viewOf(out).setUint32(0, PACK_MAGIC, true)
  out[4] = PACK_VERSION
  out[5] = kind === 'data' ? 1 : 2
  return out
}

/** @throws CxvError PACK_CORRUPT */
export function decodePackHeader(bytes: Uint8Array): PackKind {
  if (bytes.length < PACK_HEADER_BYTES) throw corrupt('it is shorter than its header')
  if (viewOf(bytes).getUint32(0, true) !== PACK_MAGIC) throw corrupt('it does not start as a pack')
  if (bytes[4] !== PACK_VERSION) throw corrupt(`version ${bytes[4]} is unknown`)
  if (bytes[6] !== 0 || bytes[7] !== 0) throw corrupt('reserved bytes are set')
  if (bytes[5] === 1) return 'data'
  if (bytes[5] === 2) return 'meta'
  throw corrupt(`kind ${bytes[5]} is unknown`)
}

/**
 * Writes header and body at `at`, which the caller made room for. A body that lies where it belongs is left; one
 * that lies behind that, in the same memory, is moved.
 * @returns bytes written
 */
export function writeFrame(into: Uint8Array, at: number, frame: FrameToWrite): number {
  const view = new DataView(into.buffer, into.byteOffset + at, FRAME_HEADER_BYTES)
  view.setUint32(0, FRAME_MAGIC, true)
  view.setUint8(4, FRAME_VERSION)
  view.setUint8(5, frame.kind === 'chunk' ? 1 : 2)
  view.setUint8(6, CODECS[frame.codec])
  view.setUint8(7, 0)
  into.set(frame.id, at + 8)
  view.setUint32(40, frame.body.length, true)
  view.setUint32(44, frame.plainLength, true)
  const bodyAt = at + FRAME_HEADER_BYTES
  if (!liesAt(into, bodyAt, frame.body)) into.set(frame.body, bodyAt)
  const end = bodyAt + frame.body.length
  view.setBigUint64(CHECK_AT, quickCheck(into, at, end, isStoredChunk(frame)), true)
  return end - at
}

const liesAt = (bytes: Uint8Array, at: number, body: Uint8Array): boolean =>
  body.buffer === bytes.buffer && body.byteOffset === bytes.byteOffset + at

/** Its body is what its id is the SHA-256 of. */
const isStoredChunk = ({ kind, codec }: Pick<PackEntry, 'kind' | 'codec'>): boolean =>
  kind === 'chunk' && codec === 'stored'

/**
 * XXH64 of the 48 header bytes before the check itself; where the body is not hashed against the header's id
 * as it is, XXH64 of the body seeded with that.
 */
function quickCheck(bytes: Uint8Array, at: number, end: number, headerOnly: boolean): bigint {
  const ofHeader = quickHash(bytes.subarray(at, at + CHECK_AT))
  return headerOnly ? ofHeader : quickHash(bytes.subarray(at + FRAME_HEADER_BYTES, end), ofHeader)
}

/**
 * Reads the header of the frame at `at`; lengths are within their bounds, the body is not looked at.
 * @throws CxvError PACK_CORRUPT
 */
export function decodeFrameHeader(bytes: Uint8Array, at: number): PackEntry {
  if (at < 0 || at + FRAME_HEADER_BYTES > bytes.length) throw corrupt('a frame is cut off')
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, FRAME_HEADER_BYTES)
  if (view.getUint32(0, true) !== FRAME_MAGIC) throw corrupt(`no frame starts at byte ${at}`)
  if (view.getUint8(4) !== FRAME_VERSION) throw corrupt('a frame has an unknown version')
  if (view.getUint8(7) !== 0) throw corrupt('a frame has unknown flags')
  return checkedEntry({
    kind: view.getUint8(5),
    codec: view.getUint8(6),
    id: copyOf(bytes, at + 8, at + 40),
    offset: at,
    storedLength: view.getUint32(40, true),
    plainLength: view.getUint32(44, true),
  })
}

interface RawEntry {
  readonly kind: number
  readonly codec: number
  readonly id: Uint8Array
  readonly offset: number
  readonly storedLength: number
  readonly plainLength: number
}

function checkedEntry(raw: RawEntry): PackEntry {
  if (raw.kind !== 1 && raw.kind !== 2) throw corrupt(`frame type ${raw.kind} is unknown`)
  const kind = raw.kind === 1 ? 'chunk' : 'recipe'
  const codec = codecOfByte(raw.codec)
  if (codec === undefined) throw corrupt(`codec ${raw.codec} is unknown`)
  if (raw.plainLength > maxPlainLength(kind)) throw corrupt('a frame is longer than allowed')
  if (codec === 'stored' && raw.storedLength !== raw.plainLength) {
    throw corrupt('a stored frame has two lengths')
  }
  if (codec !== 'stored' && raw.storedLength >= raw.plainLength) {
    throw corrupt('a compressed frame is longer than its bytes')
  }
  const { id, offset, storedLength, plainLength } = raw
  return { kind, codec, id, offset, storedLength, plainLength }
}

/** Header and quick check of the frame at `at`, not its id. @throws CxvError PACK_CORRUPT */
function checkFrame(bytes: Uint8Array, at: number): PackEntry {
  const entry = decodeFrameHeader(bytes, at)
  const end = at + frameLength(entry)
  if (end > bytes.length) throw corrupt('a frame is cut off')
  const stored = new DataView(bytes.buffer, bytes.byteOffset + at + CHECK_AT, 8)
  if (stored.getBigUint64(0, true) !== quickCheck(bytes, at, end, isStoredChunk(entry))) {
    throw corrupt(`the frame at byte ${at} (${toHex(entry.id)}) fails its check`)
  }
  return entry
}

/** Decodes a frame that has been checked. @throws CxvError PACK_CORRUPT */
export function frameBody(bytes: Uint8Array, at: number, entry: PackEntry): Uint8Array {
  const bodyAt = at + FRAME_HEADER_BYTES
  try {
    return decodeBody(
      entry.codec,
      bytes.subarray(bodyAt, bodyAt + entry.storedLength),
      entry.plainLength,
    )
  } catch (cause) {
    throw corrupt(`the frame of ${toHex(entry.id)} does not decode`, cause)
  }
}

/** Whether decoded bytes are what the frame's id promises: the SHA-256 of a chunk, a recipe's checksum. */
export function matchesId(kind: ObjectKind, id: Uint8Array, plain: Uint8Array): boolean {
  if (kind === 'chunk') return equalBytes(hash('sha256', plain, 'buffer'), id)
  try {
    decodeRecipe(id, plain)
    return true
  } catch {
    return false
  }
}

/**
 * The whole check of one frame: header, quick check, decoding, id.
 * @throws CxvError PACK_CORRUPT
 */
export function decodeFrame(
  bytes: Uint8Array,
  at = 0,
): { readonly entry: PackEntry; readonly plain: Uint8Array } {
  const entry = checkFrame(bytes, at)
  const plain = frameBody(bytes, at, entry)
  if (!matchesId(entry.kind, entry.id, plain)) {
    throw corrupt(`the frame of ${toHex(entry.id)} holds other bytes`)
  }
  return { entry, plain }
}

/** The table at a pack's end: one entry a frame, in order, then the footer. */
export function encodeTable(entries: readonly PackEntry[]): Uint8Array {
  if (entries.length > PACK_MAX_FRAMES) throw new Error('too many frames for one pack')
  const tableLength = entries.length * TABLE_ENTRY_BYTES
  const out = new Uint8Array(tableLength + PACK_FOOTER_BYTES)
  const view = viewOf(out)
  let at = 0
  for (const entry of entries) {
    out.set(entry.id, at)
    out[at + 32] = entry.kind === 'chunk' ? 1 : 2
    out[at + 33] = CODECS[entry.codec]
    view.setUint32(at + 36, entry.offset, true)
    view.setUint32(at + 40, entry.storedLength, true)
    view.setUint32(at + 44, entry.plainLength, true)
    at += TABLE_ENTRY_BYTES
  }
  view.setUint32(at, entries.length, true)
  view.setUint32(at + 4, tableLength, true)
  view.setBigUint64(at + 8, quickHash(out.subarray(0, tableLength), BigInt(entries.length)), true)
  view.setBigUint64(at + 16, FOOTER_MAGIC, true)
  return out
}

/** Reckons a pack's id while it is filled. */
export interface PackNamer {
  /** For every frame, in order. */
  add(frame: Pick<FrameToWrite, 'kind' | 'codec' | 'body'>): void
  /** @param table table and footer, as `encodeTable` gives them */
  name(table: Uint8Array): PackId
}

/**
 * The id of a pack: SHA-256 of its header, the bodies of those frames that are not stored chunks, its table and
 * its footer. A stored chunk's body is bound by the SHA-256 of it that the table has, a frame's header by the
 * table and the body; so each byte of the pack is, and none is hashed twice (docs/decisions/0001).
 */
export function createPackNamer(kind: PackKind): PackNamer {
  const hasher = createHash('sha256').update(encodePackHeader(kind))
  return {
    add(frame) {
      if (!isStoredChunk(frame)) hasher.update(frame.body)
    },
    name: (table) => packId(hasher.update(table).digest('hex')),
  }
}

/**
 * How many bytes at the pack's end hold table and footer.
 * @param footer the last PACK_FOOTER_BYTES of the pack
 * @throws CxvError PACK_CORRUPT
 */
export function tableAndFooterLength(footer: Uint8Array, packBytes: number): number {
  if (footer.length !== PACK_FOOTER_BYTES) throw corrupt('its footer is cut off')
  const view = viewOf(footer)
  if (view.getBigUint64(16, true) !== FOOTER_MAGIC) throw corrupt('its footer is not one')
  const count = view.getUint32(0, true)
  const length = count * TABLE_ENTRY_BYTES + PACK_FOOTER_BYTES
  if (view.getUint32(4, true) !== count * TABLE_ENTRY_BYTES || count > PACK_MAX_FRAMES) {
    throw corrupt('its table has an impossible length')
  }
  if (packBytes > PACK_MAX_BYTES || length + PACK_HEADER_BYTES > packBytes) {
    throw corrupt('its table is longer than the pack')
  }
  return length
}

/**
 * Decodes the table; the entries lie end to end and fill the pack exactly.
 * @param tail the pack's last `tableAndFooterLength` bytes
 * @throws CxvError PACK_CORRUPT
 */
export function decodeTable(tail: Uint8Array, packBytes: number): PackEntry[] {
  const footer = tail.subarray(Math.max(0, tail.length - PACK_FOOTER_BYTES))
  if (tableAndFooterLength(footer, packBytes) !== tail.length) throw corrupt('its table is cut off')
  const table = tail.subarray(0, tail.length - PACK_FOOTER_BYTES)
  const count = table.length / TABLE_ENTRY_BYTES
  if (viewOf(footer).getBigUint64(8, true) !== quickHash(table, BigInt(count))) {
    throw corrupt('its table fails its check')
  }
  const view = viewOf(table)
  const entries: PackEntry[] = []
  let next = PACK_HEADER_BYTES
  for (let at = 0; at < table.length; at += TABLE_ENTRY_BYTES) {
    if (view.getUint16(at + 34, true) !== 0) throw corrupt('reserved bytes of its table are set')
    const entry = checkedEntry({
      kind: view.getUint8(at + 32),
      codec: view.getUint8(at + 33),
      id: copyOf(table, at, at + 32),
      offset: view.getUint32(at + 36, true),
      storedLength: view.getUint32(at + 40, true),
      plainLength: view.getUint32(at + 44, true),
    })
    if (entry.offset !== next) throw corrupt('its frames do not lie end to end')
    next += frameLength(entry)
    entries.push(entry)
  }
  if (next !== packBytes - tail.length) throw corrupt('its frames do not fill it')
  return entries
}

export interface ScannedPack {
  /** Frames that pass every check, in order. */
  readonly entries: readonly PackEntry[]
  /** Byte offsets where a frame was expected and none could be read. */
  readonly damagedAt: readonly number[]
}

/**
 * Walks the frames forward without the table, for packs whose table is damaged: after a bad frame,
 * goes on at the next place that starts like one and passes every check.
 */
export function scanPack(bytes: Uint8Array): ScannedPack {
  const entries: PackEntry[] = []
  const damagedAt: number[] = []
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = endOfFrames(bytes)
  let at = PACK_HEADER_BYTES
  while (at < end) {
    const entry = wholeFrameOrNot(bytes, at)
    if (entry !== undefined) {
      entries.push(entry)
      at += frameLength(entry)
      continue
    }
    damagedAt.push(at)
    do {
      at = buffer.indexOf(FRAME_MAGIC_BYTES, at + 1)
    } while (at >= 0 && at < end && wholeFrameOrNot(bytes, at) === undefined)
    if (at < 0) break
  }
  return { entries, damagedAt }
}

/** Where the table starts if the footer can be believed, else the end of the bytes. */
function endOfFrames(bytes: Uint8Array): number {
  try {
    const footer = bytes.subarray(Math.max(0, bytes.length - PACK_FOOTER_BYTES))
    return bytes.length - tableAndFooterLength(footer, bytes.length)
  } catch {
    return bytes.length
  }
}

function wholeFrameOrNot(bytes: Uint8Array, at: number): PackEntry | undefined {
  try {
    return decodeFrame(bytes, at).entry
  } catch {
    return undefined
  }
}

/** Bytes of a pack, which may be valid until the next call only. */
export type PackBytes = (offset: number, length: number) => Uint8Array

/** A pack that came from elsewhere: its table can be believed when all of `frames` has been gone through. */
export interface PackToCheck {
  readonly kind: PackKind
  readonly entries: readonly PackEntry[]
  /**
   * The frames in order, each decoded, and checked against the table and its id before it is given out; behind
   * the last one the name of the pack is checked.
   * @throws CxvError PACK_CORRUPT
   */
  frames(): Generator<{ readonly entry: PackEntry; readonly plain: Uint8Array }>
}

/**
 * Everything there is to check of a pack that came from elsewhere: its name, table, and that every
 * frame decodes to the bytes its id names and is what the table says.
 * @throws CxvError PACK_CORRUPT, also from `frames`
 */
export function checkPack(id: PackId, sizeBytes: number, read: PackBytes): PackToCheck {
  if (sizeBytes > PACK_MAX_BYTES) throw corrupt('it is larger than a pack may be')
  const kind = decodePackHeader(read(0, Math.min(sizeBytes, PACK_HEADER_BYTES)))
  const footerLength = Math.min(sizeBytes, PACK_FOOTER_BYTES)
  const tailLength = tableAndFooterLength(read(sizeBytes - footerLength, footerLength), sizeBytes)
  const tail = copyOf(read(sizeBytes - tailLength, tailLength), 0, tailLength)
  const entries = decodeTable(tail, sizeBytes)
  return {
    kind,
    entries,
    *frames() {
      const namer = createPackNamer(kind)
      for (const entry of entries) {
        const frame = read(entry.offset, frameLength(entry))
        const { entry: told, plain } = decodeFrame(frame)
        if (!sameEntry({ ...told, offset: entry.offset }, entry)) {
          throw corrupt('its table and its frames differ')
        }
        namer.add({ ...entry, body: frame.subarray(FRAME_HEADER_BYTES) })
        yield { entry, plain }
      }
      const name = namer.name(tail)
      if (name !== id) throw corrupt(`${id} has other bytes (${name})`)
    },
  }
}

/** The whole check of a pack whose bytes are all at hand. @throws CxvError PACK_CORRUPT */
export function verifyPack(
  id: PackId,
  bytes: Uint8Array,
): { readonly kind: PackKind; readonly entries: readonly PackEntry[] } {
  const { kind, entries, frames } = checkPack(id, bytes.length, (offset, length) =>
    bytes.subarray(offset, offset + length),
  )
  const checking = frames()
  while (checking.next().done !== true);
  return { kind, entries }
}

export const sameEntry = (a: PackEntry, b: PackEntry): boolean =>
  a.kind === b.kind &&
  a.codec === b.codec &&
  a.offset === b.offset &&
  a.storedLength === b.storedLength &&
  a.plainLength === b.plainLength &&
  equalBytes(a.id, b.id)
