import { type CommitId, commitId, CxvError, fromHex, toHex } from '../base/index.ts'

/** A git pack on a remote, with the commits that it brings. docs/format.md#remote-layout */
export interface HistoryPack {
  /** After adding it (and the packs that bring its bases), all that these commits reach is there. */
  readonly tips: readonly CommitId[]
  /** Commits that must be there before. */
  readonly bases: readonly CommitId[]
  /** The git pack, byte for byte. */
  readonly pack: Uint8Array
}

const MAGIC = 0x67767863 // `cxvg`, little-endian
const VERSION = 1
const HEAD_BYTES = 16
const OID_BYTES = 20
const MAX_COMMITS = 20_000

/** Bytes from the start of the file in which every list of up to 800 commits ends. */
export const HISTORY_PACK_PROBE_BYTES = HEAD_BYTES + 800 * OID_BYTES

export function encodeHistoryPack({ tips, bases, pack }: HistoryPack): Uint8Array {
  if (tips.length + bases.length > MAX_COMMITS)
    throw new Error('too many commits named in one pack')
  const out = new Uint8Array(HEAD_BYTES + (tips.length + bases.length) * OID_BYTES + pack.length)
  const view = new DataView(out.buffer)
  view.setUint32(0, MAGIC, true)
  out[4] = VERSION
  view.setUint32(8, tips.length, true)
  view.setUint32(12, bases.length, true)
  let at = HEAD_BYTES
  for (const id of [...tips, ...bases]) {
    out.set(fromHex(id), at)
    at += OID_BYTES
  }
  out.set(pack, at)
  return out
}

/**
 * Reads the lists from the first bytes of the file; undefined when more bytes are needed.
 * @throws CxvError FORMAT_INVALID
 */
export function decodeHistoryPackHead(
  bytes: Uint8Array,
): (Omit<HistoryPack, 'pack'> & { readonly packAt: number }) | undefined {
  if (bytes.length < HEAD_BYTES) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== MAGIC || view.getUint32(4, true) !== VERSION) {
    throw invalid('it does not start as one of version 1')
  }
  const tipCount = view.getUint32(8, true)
  const baseCount = view.getUint32(12, true)
  if (tipCount === 0 || tipCount + baseCount > MAX_COMMITS) throw invalid('its counts')
  const packAt = HEAD_BYTES + (tipCount + baseCount) * OID_BYTES
  if (bytes.length < packAt) return undefined
  const read = (index: number): CommitId => {
    const at = HEAD_BYTES + index * OID_BYTES
    return commitId(toHex(bytes.subarray(at, at + OID_BYTES)))
  }
  return {
    tips: Array.from({ length: tipCount }, (_, i) => read(i)),
    bases: Array.from({ length: baseCount }, (_, i) => read(tipCount + i)),
    packAt,
  }
}

/** @throws CxvError FORMAT_INVALID */
export function decodeHistoryPack(bytes: Uint8Array): HistoryPack {
  const head = decodeHistoryPackHead(bytes)
  if (head === undefined) throw invalid('it is cut off')
  return { tips: head.tips, bases: head.bases, pack: bytes.subarray(head.packAt) }
}

const invalid = (why: string): CxvError =>
  new CxvError('FORMAT_INVALID', `bad history pack: ${why}`)
