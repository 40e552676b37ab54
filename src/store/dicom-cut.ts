const EXPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2.1'
const IMPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2'
/** Value representations whose explicit length is 2 reserved bytes and a u32 (PS3.5 section 7.1.2). */
const LONG_VRS = new Set([
  'OB',
  'OD',
  'OF',
  'OL',
  'OV',
  'OW',
  'SQ',
  'SV',
  'UC',
  'UN',
  'UR',
  'UT',
  'UV',
])
const PREAMBLE_BYTES = 128
const UNDEFINED_LENGTH = 0xffffffff
const PIXEL_DATA = 0x7fe00010

/**
 * Where the pixels of an uncompressed DICOM begin: the first byte of PixelData's value. Editing or
 * de-identifying the header then leaves the pixel chunks as they are.
 *
 * @param start the file's first bytes (its first 4 MiB)
 * @returns undefined on any doubt: compressed, big-endian, a sequence of undefined length, or not
 *   DICOM at all; the file is then cut by content as any other
 */
export function pixelDataOffset(start: Uint8Array): number | undefined {
  const syntax = transferSyntax(start)
  if (syntax === undefined) return undefined
  if (syntax.uid !== EXPLICIT_LITTLE_ENDIAN && syntax.uid !== IMPLICIT_LITTLE_ENDIAN)
    return undefined
  const explicit = syntax.uid === EXPLICIT_LITTLE_ENDIAN
  let at = syntax.end
  let before = 0
  for (;;) {
    const element = readElement(start, at, explicit)
    // Tags of a data set ascend: anything else is not one.
    if (element === undefined || element.tag <= before) return undefined
    if (element.tag === PIXEL_DATA) {
      return element.length === UNDEFINED_LENGTH ? undefined : element.valueAt
    }
    if (element.tag > PIXEL_DATA || element.length === UNDEFINED_LENGTH) return undefined
    before = element.tag
    at = element.valueAt + element.length
  }
}

interface Element {
  readonly tag: number
  readonly length: number
  readonly valueAt: number
}

function readElement(bytes: Uint8Array, at: number, explicit: boolean): Element | undefined {
  if (at + 12 > bytes.length) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const tag = view.getUint16(at, true) * 0x10000 + view.getUint16(at + 2, true)
  if (!explicit) return { tag, length: view.getUint32(at + 4, true), valueAt: at + 8 }
  const vr = String.fromCharCode(view.getUint8(at + 4), view.getUint8(at + 5))
  if (!/^[A-Z]{2}$/.test(vr)) return undefined
  return LONG_VRS.has(vr)
    ? { tag, length: view.getUint32(at + 8, true), valueAt: at + 12 }
    : { tag, length: view.getUint16(at + 6, true), valueAt: at + 8 }
}

/** The file meta group (0002, always explicit little-endian): its transfer syntax and its end. */
function transferSyntax(
  bytes: Uint8Array,
): { readonly uid: string; readonly end: number } | undefined {
  if (bytes.length < PREAMBLE_BYTES + 4) return undefined
  if (String.fromCharCode(...bytes.subarray(PREAMBLE_BYTES, PREAMBLE_BYTES + 4)) !== 'DICM') {
    return undefined
  }
  let at = PREAMBLE_BYTES + 4
  let uid: string | undefined
  for (;;) {
    const group = bytes[at]! + bytes[at + 1]! * 256
    if (group !== 0x0002) return uid === undefined ? undefined : { uid, end: at }
    const element = readElement(bytes, at, true)
    if (element === undefined || element.length === UNDEFINED_LENGTH) return undefined
    const end = element.valueAt + element.length
    if (end > bytes.length) return undefined
    if (element.tag === 0x00020010) {
      uid = String.fromCharCode(
        ...bytes.subarray(element.valueAt, Math.min(end, element.valueAt + 64)),
      ).replace(/[\0 ]+$/, '')
    }
    at = end
  }
}
