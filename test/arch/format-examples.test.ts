import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { packId, type PackId } from '../../src/base/index.ts'
import {
  createMessageReader,
  decodeFragment,
  decodeFrame,
  decodeShard,
  encodeShard,
  frameLength,
  PACK_HEADER_BYTES,
  verifyPack,
} from '../../src/format/index.ts'
import { packTable } from '../helpers/pack-bytes.ts'
import { decodeWeights, encodeWeights } from '../../src/train/weights.ts'

const FORMAT = fileURLToPath(new URL('../../../docs/format.md', import.meta.url))

/** The block under `<!-- example: name -->` in docs/format.md. */
function block(name: string): string {
  const pattern = new RegExp(`<!-- example: ${name} -->\\s+\`\`\`\\n([^\`]+)\`\`\``)
  const text = pattern.exec(readFileSync(FORMAT, 'utf8'))?.[1]
  assert.ok(text !== undefined, `docs/format.md has no example of a ${name}`)
  return text
}

/** A block of hexadecimal digits. */
function example(name: string): Uint8Array {
  const hex = block(name).replace(/\s/g, '')
  assert.match(hex, /^([0-9a-f]{2})+$/)
  return Buffer.from(hex, 'hex')
}

/** Of a pack that holds one stored chunk: header, table and footer. */
function nameOf(pack: Uint8Array): PackId {
  const [frame] = packTable(pack)
  assert.equal(frame?.codec, 'stored')
  const behind = frame.offset + frameLength(frame)
  const hasher = createHash('sha256').update(pack.subarray(0, PACK_HEADER_BYTES))
  return packId(hasher.update(pack.subarray(behind)).digest('hex'))
}

test('the pack in docs/format.md is one', () => {
  const bytes = example('pack')
  const id = nameOf(bytes)
  const { kind, entries } = verifyPack(id, bytes)
  assert.deepEqual([kind, entries.length], ['data', 1])
  assert.equal(Buffer.from(decodeFrame(bytes, entries[0]?.offset).plain).toString(), 'cxv\n')
})

test('the fragment in docs/format.md names that pack', () => {
  const pack = example('pack')
  const fragment = decodeFragment(example('fragment'))
  const { offset, length, id } = fragment.entry(0)
  assert.deepEqual(fragment.packs, [{ id: nameOf(pack), size: pack.length, kind: 'data' }])
  const { entry } = decodeFrame(pack.subarray(offset, offset + length))
  assert.deepEqual(Buffer.from(entry.id), Buffer.from(id))
})

test('the message in docs/format.md is one', () => {
  const [message] = createMessageReader().push(example('message'))
  assert.deepEqual(
    [message?.type, message?.id, message?.header],
    ['get', 1, { key: 'refs/heads/main' }],
  )
})

test('the row in docs/format.md is a shard, in its one encoding', () => {
  const bytes = Buffer.from(block('shard'))
  const rows = decodeShard(bytes)
  assert.deepEqual(
    rows.map(({ path, size }) => [path, size]),
    [['images/00000001_000.png', 401234]],
  )
  assert.deepEqual(Buffer.from(encodeShard(rows)), bytes)
})

test('the weights in docs/format.md are what is written for them', () => {
  const bytes = example('weights')
  const { tensors } = decodeWeights(bytes)
  assert.deepEqual(tensors, { b: { shape: [1], data: Float32Array.of(1) } })
  assert.deepEqual(Buffer.from(encodeWeights(tensors)), Buffer.from(bytes))
})
