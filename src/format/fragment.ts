import { CxvError, type PackId, packId, toHex } from '../base/index.ts'
import {
  FRAME_HEADER_BYTES,
  maxPlainLength,
  type ObjectKind,
  PACK_HEADER_BYTES,
  PACK_MAX_BYTES,
  type PackKind,
} from './pack.ts'

/** Which frames lie in which packs of a remote. docs/format.md#index-fragments */
export const FRAGMENT_MAX_BYTES = 8 << 20

const MAGIC = 0x69767863 // `cxvi`, little-endian
const VERSION = 1
const HEAD_BYTES = 16
const PACK_BYTES = 40
const ENTRY_BYTES = 52
const ID_BYTES = 32

export interface FragmentPack {
  readonly id: PackId
  readonly size: number
  readonly kind: PackKind
}

export interface FragmentEntry {
  readonly kind: ObjectKind
  /** SHA-256, 32 bytes. */
  readonly id: Uint8Array
  /** Index into the fragment's packs. */
  readonly pack: number
  readonly offset: number
  /** Bytes of the whole frame, header included. */
  readonly length: number
  readonly plainLength: number
}

/** A decoded fragment: the bytes, looked at in place (a million entries must not be a million objects). */
export interface Fragment {
  readonly packs: readonly FragmentPack[]
  readonly count: number
  entry(index: number): FragmentEntry
  /** Whether entry `index` is of this kind and id, without making an object. */
  is(index: number, kind: ObjectKind, id: Uint8Array): boolean
  /** For hash tables: see hashId. */
  hashOf(index: number, seed: number): number
  packOf(index: number): number
}

/**
 * 32 bits of an id, different for every seed: the ids of a remote may be chosen to collide.
 * @param id 32 bytes
 */
export const hashId = (id: Uint8Array, seed: number): number =>
  hashWords(new DataView(id.buffer, id.byteOffset, id.byteLength), 0, seed)

function hashWords(view: DataView, at: number, seed: number): number {
  let hash = seed | 1
  for (let i = 0; i < ID_BYTES; i += 4) {
    hash = Math.imul(hash ^ view.getUint32(at + i, true), 0x9e3779b1)
    hash = (hash ^ (hash >>> 15)) + seed
  }
  return hash >>> 0
}

const kindByte = (kind: ObjectKind): number => (kind === 'chunk' ? 1 : 2)

/** How many entries fit beside so many packs. */
export const fragmentRoom = (packs: number): number =>
  Math.floor((FRAGMENT_MAX_BYTES - HEAD_BYTES - packs * PACK_BYTES) / ENTRY_BYTES)

/** @param entries any order; each kind and id once */
export function encodeFragment(
  packs: readonly FragmentPack[],
  entries: readonly FragmentEntry[],
): Uint8Array {
  if (entries.length > fragmentRoom(packs.length)) throw new Error('too much for one fragment')
  const sorted = [...entries].sort(
    (a, b) => Buffer.compare(a.id, b.id) || kindByte(a.kind) - kindByte(b.kind),
  )
  const out = new Uint8Array(HEAD_BYTES + packs.length * PACK_BYTES + entries.length * ENTRY_BYTES)
  const view = new DataView(out.buffer)
  view.setUint32(0, MAGIC, true)
  out[4] = VERSION
  view.setUint32(8, packs.length, true)
  view.setUint32(12, entries.length, true)
  let at = HEAD_BYTES
  for (const pack of packs) {
    out.set(Buffer.from(pack.id, 'hex'), at)
    view.setUint32(at + 32, pack.size, true)
    out[at + 36] = pack.kind === 'data' ? 1 : 2
    at += PACK_BYTES
  }
  for (const entry of sorted) {
    out.set(entry.id, at)
    view.setUint32(at + 32, entry.pack, true)
    view.setUint32(at + 36, entry.offset, true)
    view.setUint32(at + 40, entry.length, true)
    view.setUint32(at + 44, entry.plainLength, true)
    out[at + 48] = kindByte(entry.kind)
    at += ENTRY_BYTES
  }
  return out
}

const invalid = (why: string): CxvError =>
  new CxvError('FORMAT_INVALID', `bad index fragment: ${why}`)

/** Checks every pack and entry. @throws CxvError FORMAT_INVALID */
export function decodeFragment(bytes: Uint8Array): Fragment {
  if (bytes.length < HEAD_BYTES || bytes.length > FRAGMENT_MAX_BYTES) throw invalid('its length')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== MAGIC) throw invalid('it does not start as one')
  if (view.getUint32(4, true) !== VERSION) throw invalid(`version ${bytes[4]} is unknown`)
  const packCount = view.getUint32(8, true)
  const count = view.getUint32(12, true)
  const base = HEAD_BYTES + packCount * PACK_BYTES
  if (base + count * ENTRY_BYTES !== bytes.length) throw invalid('its counts do not fit its length')
  const packs = readPacks(bytes, view, packCount)
  const idAt = (index: number): number => base + index * ENTRY_BYTES
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

  for (let i = 0, at = base; i < count; i++, at += ENTRY_BYTES) {
    const kind = bytes[at + 48]
    const pack = packs[view.getUint32(at + 32, true)]
    const end = view.getUint32(at + 36, true) + view.getUint32(at + 40, true)
    const sound =
      (kind === 1 || kind === 2) &&
      pack !== undefined &&
      view.getUint32(at + 36, true) >= PACK_HEADER_BYTES &&
      view.getUint32(at + 40, true) >= FRAME_HEADER_BYTES &&
      end <= pack.size &&
      view.getUint32(at + 44, true) <= maxPlainLength(kind === 1 ? 'chunk' : 'recipe') &&
      bytes[at + 49] === 0 &&
      bytes[at + 50] === 0 &&
      bytes[at + 51] === 0
    if (!sound) throw invalid(`entry ${i} makes no sense`)
    if (i === 0) continue
    const before = at - ENTRY_BYTES
    const order =
      buffer.compare(buffer, at, at + ID_BYTES, before, before + ID_BYTES) ||
      (bytes[before + 48] ?? 0) - kind
    if (order >= 0) throw invalid('its entries are not in order')
  }

  return {
    packs,
    count,
    entry(index) {
      const at = idAt(index)
      return {
        kind: bytes[at + 48] === 1 ? 'chunk' : 'recipe',
        id: bytes.subarray(at, at + ID_BYTES),
        pack: view.getUint32(at + 32, true),
        offset: view.getUint32(at + 36, true),
        length: view.getUint32(at + 40, true),
        plainLength: view.getUint32(at + 44, true),
      }
    },
    is(index, kind, id) {
      const at = idAt(index)
      return (
        bytes[at + 48] === kindByte(kind) &&
        buffer.compare(id, 0, ID_BYTES, at, at + ID_BYTES) === 0
      )
    },
    hashOf: (index, seed) => hashWords(view, idAt(index), seed),
    packOf: (index) => view.getUint32(idAt(index) + 32, true),
  }
}

function readPacks(bytes: Uint8Array, view: DataView, count: number): FragmentPack[] {
  const packs: FragmentPack[] = []
  for (let i = 0, at = HEAD_BYTES; i < count; i++, at += PACK_BYTES) {
    const size = view.getUint32(at + 32, true)
    const kind = bytes[at + 36]
    const zero = bytes[at + 37] === 0 && bytes[at + 38] === 0 && bytes[at + 39] === 0
    if (size > PACK_MAX_BYTES || (kind !== 1 && kind !== 2) || !zero) {
      throw invalid(`pack ${i} makes no sense`)
    }
    packs.push({
      id: packId(toHex(bytes.subarray(at, at + ID_BYTES))),
      size,
      kind: kind === 1 ? 'data' : 'meta',
    })
  }
  return packs
}
