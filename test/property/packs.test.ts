import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { isCxvError } from '../../src/base/index.ts'
import {
  decodeBody,
  decodeFrame,
  decodeRecipe,
  encodeBody,
  encodeRecipe,
  encodeTable,
  FRAME_HEADER_BYTES,
  type FrameToWrite,
  frameLength,
  scanPack,
  verifyPack,
  writeFrame,
} from '../../src/format/index.ts'
import { encodePack, packTable } from '../helpers/pack-bytes.ts'

const sha = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest())

/** Noise, text and repeats: what is stored and what is deflated. */
const plain = fc.oneof(
  fc.uint8Array({ maxLength: 600 }),
  fc.string({ minLength: 0, maxLength: 900 }).map((s) => new TextEncoder().encode(s)),
  fc
    .tuple(fc.uint8Array({ minLength: 1, maxLength: 12 }), fc.nat({ max: 300 }))
    .map(
      ([unit, times]) => new Uint8Array(Buffer.concat(Array.from({ length: times }, () => unit))),
    ),
)

const chunkFrame = (bytes: Uint8Array): FrameToWrite => {
  const { codec, bytes: body } = encodeBody(bytes)
  return { kind: 'chunk', codec, id: sha(bytes), body, plainLength: bytes.length }
}

const frameBytes = (frame: FrameToWrite): Uint8Array => {
  const out = new Uint8Array(FRAME_HEADER_BYTES + frame.body.length)
  writeFrame(out, 0, frame)
  return out
}

const isCorrupt = (error: unknown): boolean =>
  isCxvError(error, 'PACK_CORRUPT') || isCxvError(error, 'FORMAT_INVALID')

test('bodies: decoding what was encoded is the identity, and never longer than stored', () => {
  fc.assert(
    fc.property(plain, (bytes) => {
      const { codec, bytes: body } = encodeBody(bytes)
      assert.ok(body.length <= bytes.length)
      assert.deepEqual(Buffer.from(decodeBody(codec, body, bytes.length)), Buffer.from(bytes))
    }),
  )
})

test('frames: round trip, and every changed bit is found', () => {
  fc.assert(
    fc.property(plain, fc.nat(), fc.nat({ max: 7 }), (bytes, where, bit) => {
      const frame = frameBytes(chunkFrame(bytes))
      const { entry, plain: back } = decodeFrame(frame)
      assert.deepEqual(Buffer.from(back), Buffer.from(bytes))
      assert.equal(frameLength(entry), frame.length)
      frame[where % frame.length]! ^= 1 << bit
      assert.throws(() => decodeFrame(frame), isCorrupt)
    }),
  )
})

test('frames: a truncated one is refused', () => {
  fc.assert(
    fc.property(plain, fc.nat(), (bytes, where) => {
      const frame = frameBytes(chunkFrame(bytes))
      assert.throws(() => decodeFrame(frame.subarray(0, where % frame.length)), isCorrupt)
    }),
  )
})

test('packs: table and forward scan tell the same, and the table has one encoding', () => {
  fc.assert(
    fc.property(fc.array(plain, { maxLength: 12 }), (contents) => {
      const { id, bytes } = encodePack('data', contents.map(chunkFrame))
      const entries = packTable(bytes)
      assert.deepEqual(scanPack(bytes), { entries, damagedAt: [] })
      assert.deepEqual(verifyPack(id, bytes).entries, entries)
      const table = encodeTable(entries)
      assert.deepEqual(Buffer.from(table), Buffer.from(bytes.subarray(bytes.length - table.length)))
      for (const [i, entry] of entries.entries()) {
        assert.deepEqual(
          Buffer.from(decodeFrame(bytes, entry.offset).plain),
          Buffer.from(contents[i]!),
        )
      }
    }),
  )
})

test('packs: after any damage a scan finds only whole frames, and all that were not touched', () => {
  const anyDamage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
    minLength: 1,
    maxLength: 4,
  })
  fc.assert(
    fc.property(fc.array(plain, { minLength: 1, maxLength: 8 }), anyDamage, (contents, damage) => {
      const { id, bytes } = encodePack('data', contents.map(chunkFrame))
      const before = packTable(bytes)
      const bad = bytes.slice()
      for (const [at, mask] of damage) bad[at % bad.length]! ^= mask
      if (Buffer.compare(bad, bytes) === 0) return
      assert.throws(() => verifyPack(id, bad), isCorrupt)
      const found = new Set(scanPack(bad).entries.map((entry) => entry.offset))
      for (const entry of before) {
        const whole = (b: Uint8Array): Uint8Array =>
          b.subarray(entry.offset, entry.offset + frameLength(entry))
        const untouched = Buffer.compare(whole(bad), whole(bytes)) === 0
        assert.equal(found.has(entry.offset), untouched)
      }
    }),
  )
})

const recipe = fc
  .array(
    fc.tuple(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.integer({ min: 1, max: 4 << 20 })),
    {
      minLength: 1,
      maxLength: 20,
    },
  )
  .map((parts) => ({
    size: parts.reduce((sum, [, length]) => sum + length, 0),
    parts: parts.map(([id, length]) => ({ id, length })),
  }))

test('recipes: round trip; bound to their content; every changed bit is found', () => {
  const id = fc.uint8Array({ minLength: 32, maxLength: 32 })
  fc.assert(
    fc.property(recipe, id, fc.nat(), fc.nat({ max: 7 }), (value, content, where, bit) => {
      const bytes = encodeRecipe(content, value)
      assert.deepEqual(decodeRecipe(content, bytes), value)
      const other = content.slice()
      other[where % 32]! ^= 1 << bit
      assert.throws(() => decodeRecipe(other, bytes), isCorrupt)
      bytes[where % bytes.length]! ^= 1 << bit
      assert.throws(() => decodeRecipe(content, bytes), isCorrupt)
    }),
  )
})
