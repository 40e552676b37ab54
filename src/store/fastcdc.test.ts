import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { createRandom } from '../base/index.ts'
import { CDC_AVERAGE_BYTES, CDC_MAX_BYTES, CDC_MIN_BYTES, cutPoint } from './fastcdc.ts'

function noise(seed: number, length: number): Uint8Array {
  const random = createRandom(seed)
  const words = new Uint32Array(Math.ceil(length / 4))
  for (let i = 0; i < words.length; i++) words[i] = random.next() * 0x1_0000_0000
  return new Uint8Array(words.buffer, 0, length)
}

function chunksOf(bytes: Uint8Array): Uint8Array[] {
  const chunks: Uint8Array[] = []
  for (let at = 0; at < bytes.length;) {
    const length = cutPoint(bytes, at, bytes.length)
    chunks.push(bytes.subarray(at, at + length))
    at += length
  }
  return chunks
}

const idOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

test('lengths are within bounds and joining is the identity', () => {
  const bytes = noise(1, 24_000_000)
  const chunks = chunksOf(bytes)
  assert.equal(Buffer.compare(Buffer.concat(chunks), bytes), 0)
  for (const chunk of chunks.slice(0, -1)) {
    assert.ok(chunk.length > CDC_MIN_BYTES && chunk.length <= CDC_MAX_BYTES)
  }
  const mean = bytes.length / chunks.length
  assert.ok(mean > CDC_AVERAGE_BYTES / 2 && mean < CDC_AVERAGE_BYTES * 2, `mean ${mean}`)
})

test('the cuts are frozen: they are part of the format version', () => {
  const lengths = chunksOf(noise(7, 12_000_000)).map((chunk) => chunk.length)
  assert.deepEqual(lengths, FROZEN)
})

test('a cut does not depend on what lies beyond the window', () => {
  const bytes = noise(2, 9_000_000)
  const first = cutPoint(bytes, 0, bytes.length)
  assert.equal(cutPoint(bytes, 0, CDC_MAX_BYTES), first)
})

test('bytes without features are cut at the maximum', () => {
  const lengths = chunksOf(new Uint8Array(9 << 20)).map((chunk) => chunk.length)
  assert.deepEqual(lengths, [4 << 20, 4 << 20, 1 << 20])
})

test('an insert or a deletion changes few chunks', () => {
  const bytes = noise(3, 16_000_000)
  const before = new Set(chunksOf(bytes).map(idOf))
  fc.assert(
    fc.property(
      fc.nat({ max: bytes.length - 1 }),
      fc.nat({ max: 3_000 }),
      fc.nat({ max: 3_000 }),
      (at, cut, add) => {
        const edited = Buffer.concat([
          bytes.subarray(0, at),
          noise(at, add),
          bytes.subarray(at + cut),
        ])
        const changed = chunksOf(edited).filter((chunk) => !before.has(idOf(chunk)))
        assert.ok(changed.length <= 6, `${changed.length} of ${before.size} chunks changed`)
      },
    ),
    { numRuns: 12 },
  )
})

const FROZEN = [
  521835, 710844, 1333010, 2813767, 1063739, 1140816, 1279033, 1109507, 994982, 1032467,
]
