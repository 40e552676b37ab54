import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { isCxvError, packId } from '../../src/base/index.ts'
import {
  CHUNK_MAX_BYTES,
  decodeBody,
  decodeFrame,
  decodeFrameHeader,
  decodeRecipe,
  decodeTable,
  encodeRecipe,
  encodeTable,
  FRAME_HEADER_BYTES,
  type FrameToWrite,
  PACK_FOOTER_BYTES,
  PACK_HEADER_BYTES,
  PACK_MAX_BYTES,
  scanPack,
  tableAndFooterLength,
  verifyPack,
  writeFrame,
} from '../../src/format/index.ts'
import { encodePack, packTable } from '../helpers/pack-bytes.ts'

const sha = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()
const isCorrupt = (error: unknown): boolean =>
  isCxvError(error, 'PACK_CORRUPT') || isCxvError(error, 'FORMAT_INVALID')

function frame(of: FrameToWrite): Uint8Array {
  const out = new Uint8Array(FRAME_HEADER_BYTES + of.body.length)
  writeFrame(out, 0, of)
  return out
}

test('a body that inflates to more than it says stops there', () => {
  const bomb = deflateRawSync(Buffer.alloc(64 << 20), { level: 9 })
  assert.ok(bomb.length < 70_000)
  assert.throws(() => decodeBody('deflate', bomb, 100_000), isCorrupt)
  const bytes = frame({
    kind: 'chunk',
    codec: 'deflate',
    id: sha(new Uint8Array()),
    body: bomb,
    plainLength: 100_000,
  })
  assert.throws(() => decodeFrame(bytes), isCorrupt)
})

test('a body that inflates to less, or with bytes behind it, is refused', () => {
  const body = deflateRawSync(Buffer.alloc(5_000))
  assert.throws(() => decodeBody('deflate', body, 5_001), isCorrupt)
  assert.throws(
    () => decodeBody('deflate', Buffer.concat([body, Buffer.alloc(1)]), 5_000),
    isCorrupt,
  )
  assert.equal(decodeBody('deflate', body, 5_000).length, 5_000)
})

test('a pack whose table tells the same but whose bodies differ has another name', () => {
  const content = Buffer.from('content')
  const recipeOf = (parts: readonly number[]): FrameToWrite => {
    const body = encodeRecipe(sha(content), {
      size: parts.reduce((sum, length) => sum + length, 0),
      parts: parts.map((length) => ({ id: sha(Buffer.alloc(length)), length })),
    })
    return { kind: 'recipe', codec: 'stored', id: sha(content), body, plainLength: body.length }
  }
  const plain = Buffer.alloc(200, 'words')
  const body = deflateRawSync(plain)
  const padded = Buffer.from(body)
  // The stream ends before this bit, which no decoder looks at.
  padded[body.length - 1]! ^= 0x80
  const deflated = { kind: 'chunk', codec: 'deflate', id: sha(plain), plainLength: 200 } as const
  for (const [a, b] of [
    [recipeOf([100, 200]), recipeOf([200, 100])],
    [
      { ...deflated, body },
      { ...deflated, body: padded },
    ],
  ] as const) {
    const pack = encodePack('meta', [a])
    const twin = encodePack('meta', [b])
    verifyPack(pack.id, pack.bytes)
    verifyPack(twin.id, twin.bytes)
    assert.notEqual(pack.id, twin.id)
    assert.throws(() => verifyPack(pack.id, twin.bytes), isCorrupt)
  }
})

test('packs and frames of earlier versions are refused', () => {
  const body = Buffer.from('chunk')
  const chunk = { kind: 'chunk', codec: 'stored', id: sha(body), body, plainLength: 5 } as const
  const { id, bytes } = encodePack('data', [chunk])
  for (const version of [1, 2]) {
    const old = Buffer.from(bytes)
    old[4] = version
    const named = packId(createHash('sha256').update(old).digest('hex'))
    assert.throws(() => verifyPack(named, old), new RegExp(`version ${version} is unknown`))
  }
  const old = Buffer.from(bytes)
  old[PACK_HEADER_BYTES + 4] = 1
  assert.throws(() => verifyPack(id, old), /a frame has an unknown version/)
})

test('lengths over the bounds are refused before anything is allocated', () => {
  const bytes = frame({
    kind: 'chunk',
    codec: 'deflate',
    id: sha(Buffer.from('x')),
    body: Buffer.from('y'),
    plainLength: 2,
  })
  for (const plainLength of [CHUNK_MAX_BYTES + 1, 0xffffffff]) {
    const bad = Buffer.from(bytes)
    bad.writeUInt32LE(plainLength, 44)
    assert.throws(() => decodeFrameHeader(bad, 0), isCorrupt)
  }
  const long = Buffer.from(bytes)
  long.writeUInt32LE(0xfffffff0, 40)
  assert.throws(() => decodeFrame(long, 0), isCorrupt)
  const many = Buffer.from(encodeTable([]))
  many.writeUInt32LE(0x00ffffff, 0)
  many.writeUInt32LE((0x00ffffff * 48) >>> 0, 4)
  assert.throws(() => tableAndFooterLength(many, PACK_MAX_BYTES), isCorrupt)
  assert.throws(() => tableAndFooterLength(encodeTable([]), PACK_MAX_BYTES + 1), isCorrupt)
})

test('a table cannot point outside its pack, nor let frames overlap', () => {
  const chunk = (text: string): FrameToWrite => {
    const body = Buffer.from(text)
    return { kind: 'chunk', codec: 'stored', id: sha(body), body, plainLength: body.length }
  }
  const { bytes } = encodePack('data', [chunk('one'), chunk('two'), chunk('three')])
  const entries = packTable(bytes)
  const size = bytes.length
  const tail = (changed: typeof entries): Uint8Array => encodeTable(changed)
  for (const offset of [0, 8, 1 << 20, 0xffffffff]) {
    const changed = entries.map((entry, i) => (i === 1 ? { ...entry, offset } : entry))
    assert.throws(() => decodeTable(tail(changed), size), isCorrupt)
  }
  assert.throws(() => decodeTable(tail(entries.slice(1)), size - 48), isCorrupt)
  assert.throws(() => decodeTable(tail(entries.slice(0, 2)), size - 48), isCorrupt)
  assert.throws(() => decodeTable(tail([...entries].reverse()), size), isCorrupt)
})

test('a recipe whose count, sum or lengths do not fit is refused', () => {
  const id = sha(Buffer.from('content'))
  const sealed = (body: Buffer): Buffer =>
    Buffer.concat([body, createHash('sha256').update(id).update(body).digest()])
  const body = (
    version: number,
    count: number,
    size: bigint,
    lengths: readonly number[],
  ): Buffer => {
    const out = Buffer.alloc(16 + lengths.length * 36)
    out[0] = version
    out.writeUInt32LE(count, 4)
    out.writeBigUInt64LE(size, 8)
    lengths.forEach((length, i) => out.writeUInt32LE(length, 16 + i * 36 + 32))
    return sealed(out)
  }
  assert.equal(decodeRecipe(id, body(1, 2, 300n, [100, 200])).parts.length, 2)
  for (const bad of [
    body(2, 2, 300n, [100, 200]),
    body(1, 3, 300n, [100, 200]),
    body(1, 0xffffffff, 300n, [100, 200]),
    body(1, 2, 301n, [100, 200]),
    body(1, 2, 2n ** 63n, [100, 200]),
    body(1, 2, 100n, [100, 0]),
    body(1, 1, BigInt(CHUNK_MAX_BYTES + 1), [CHUNK_MAX_BYTES + 1]),
    body(1, 0, 0n, []),
    Buffer.alloc(0),
    Buffer.alloc(48),
  ]) {
    assert.throws(() => decodeRecipe(id, bad), isCorrupt)
  }
})

test('any bytes at all: a decoder answers or refuses, nothing else', () => {
  const magic = Buffer.from('cxvf')
  const [, , , , version = 0] = frame({
    kind: 'chunk',
    codec: 'stored',
    id: sha(magic),
    body: magic,
    plainLength: 4,
  })
  const bytes = fc.uint8Array({ maxLength: 400 }).map((b) => {
    // Half of them get past the first check.
    if (b.length > 8 && (b[0] ?? 0) % 2 === 0) Buffer.from(b.buffer).set([...magic, version], 0)
    return b
  })
  fc.assert(
    fc.property(bytes, (b) => {
      for (const decode of [
        () => decodeFrame(b),
        () => packTable(b),
        () => decodeTable(b, b.length),
        () => tableAndFooterLength(b.subarray(0, PACK_FOOTER_BYTES), b.length),
        () => decodeRecipe(sha(b), b),
      ]) {
        try {
          decode()
        } catch (error) {
          assert.ok(isCorrupt(error), String(error))
        }
      }
      scanPack(b)
    }),
    { numRuns: 500 },
  )
})
