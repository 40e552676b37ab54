import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { pixelDataOffset } from './dicom-cut.ts'

type Element = readonly [tag: number, vr: string, value: Uint8Array]

const EXPLICIT = '1.2.840.10008.1.2.1'
const IMPLICIT = '1.2.840.10008.1.2'
const LONG = ['OB', 'OW', 'SQ', 'UN', 'UT']

function element([tag, vr, value]: Element, explicit: boolean): Buffer {
  const head = Buffer.alloc(explicit && LONG.includes(vr) ? 12 : 8)
  head.writeUInt16LE(tag >>> 16, 0)
  head.writeUInt16LE(tag & 0xffff, 2)
  if (!explicit) head.writeUInt32LE(value.length, 4)
  else {
    head.write(vr, 4, 'latin1')
    if (LONG.includes(vr)) head.writeUInt32LE(value.length, 8)
    else head.writeUInt16LE(value.length, 6)
  }
  return Buffer.concat([head, value])
}

const text = (s: string): Uint8Array => Buffer.from(s.length % 2 === 0 ? s : `${s}\0`)

function dicom(syntax: string, elements: readonly Element[]): Buffer {
  const meta = element([0x00020010, 'UI', text(syntax)], true)
  return Buffer.concat([
    Buffer.alloc(128),
    Buffer.from('DICM'),
    meta,
    ...elements.map((e) => element(e, syntax !== IMPLICIT)),
  ])
}

const PIXELS = Buffer.alloc(5_000, 9)
const header = (name: string): Element[] => [
  [0x00080060, 'CS', text('DX')],
  [0x00081140, 'SQ', Buffer.alloc(24)],
  [0x00100010, 'PN', text(name)],
  [0x00280010, 'US', Buffer.from([50, 0])],
]

test('both little-endian syntaxes: the offset is where the pixel bytes begin', () => {
  for (const syntax of [EXPLICIT, IMPLICIT]) {
    for (const vr of ['OW', 'OB']) {
      const file = dicom(syntax, [...header('Doe^Jane'), [0x7fe00010, vr, PIXELS]])
      assert.equal(pixelDataOffset(file), file.length - PIXELS.length)
    }
  }
})

test('any doubt: no offset', () => {
  const pixels: Element = [0x7fe00010, 'OW', PIXELS]
  const jpeg = dicom('1.2.840.10008.1.2.4.70', [...header('A'), pixels])
  assert.equal(pixelDataOffset(jpeg), undefined)
  assert.equal(pixelDataOffset(dicom(EXPLICIT, header('A'))), undefined)
  const descending = dicom(EXPLICIT, [...header('A').reverse(), pixels])
  assert.equal(pixelDataOffset(descending), undefined)
  const endless = dicom(EXPLICIT, [...header('A'), pixels])
  endless.writeUInt32LE(0xffffffff, endless.length - PIXELS.length - 4)
  assert.equal(pixelDataOffset(endless), undefined)
  assert.equal(pixelDataOffset(Buffer.alloc(4_000)), undefined)
  assert.equal(pixelDataOffset(new Uint8Array()), undefined)
})

test('hostile bytes: an answer within the bytes or none, never an exception', () => {
  const good = dicom(EXPLICIT, [...header('Doe'), [0x7fe00010, 'OW', PIXELS]])
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 6 }),
      fc.nat(),
      (edits, cut) => {
        const bad = Buffer.from(good.subarray(0, 120 + (cut % (good.length - 120))))
        for (const [at, value] of edits) bad[at % bad.length] = value
        const offset = pixelDataOffset(bad)
        assert.ok(offset === undefined || (offset > 132 && offset <= bad.length))
      },
    ),
  )
})
