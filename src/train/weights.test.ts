import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { concatBytes, isCxvError, utf8 } from '../base/index.ts'
import { decodeCheckpoint, encodeCheckpoint, type Checkpoint } from './checkpoint.ts'
import type { HostTensors } from './types.ts'
import { decodeWeights, encodeWeights } from './weights.ts'

const tensors: HostTensors = {
  'conv1/kernel': { shape: [2, 3], data: Float32Array.of(1, -2, 3.5, NaN, 0, 1e-30) },
  'head/bias': { shape: [], data: Float32Array.of(7) },
}

const withHeader = (header: unknown, body: Uint8Array): Uint8Array => {
  const text = utf8(JSON.stringify(header))
  const size = new Uint8Array(8)
  new DataView(size.buffer).setBigUint64(0, BigInt(text.length), true)
  return concatBytes([size, text, body])
}

const refused = (bytes: Uint8Array): void => {
  assert.throws(
    () => decodeWeights(bytes),
    (error) => isCxvError(error, 'FORMAT_INVALID'),
  )
}

test('weights round-trip, in one encoding whatever the order of insertion', () => {
  const bytes = encodeWeights(tensors, { b: '2', a: '1' })
  const back = decodeWeights(bytes)
  assert.deepEqual(back.tensors, tensors)
  assert.deepEqual(back.metadata, { a: '1', b: '2' })
  const turned = Object.fromEntries(Object.entries(tensors).reverse())
  assert.deepEqual(encodeWeights(turned, { a: '1', b: '2' }), bytes)
})

test('any cut, and surplus bytes, are refused', () => {
  const bytes = encodeWeights(tensors)
  for (let length = 0; length < bytes.length; length++) refused(bytes.subarray(0, length))
  refused(concatBytes([bytes, new Uint8Array(4)]))
})

test('hostile headers are refused', () => {
  const body = new Uint8Array(8)
  const entry = (extra: object): object => ({
    a: { dtype: 'F32', shape: [2], data_offsets: [0, 8], ...extra },
  })
  decodeWeights(withHeader(entry({}), body))
  refused(withHeader(entry({ dtype: 'F64' }), body))
  refused(withHeader(entry({ shape: [2 ** 40, 2 ** 40] }), body))
  refused(withHeader(entry({ shape: [-2] }), body))
  refused(withHeader(entry({ shape: [1] }), body))
  refused(withHeader(entry({ data_offsets: [0, 2 ** 60] }), body))
  refused(withHeader(entry({ data_offsets: [4, 12] }), body))
  refused(withHeader([1], body))
  refused(withHeader({ ...entry({}), b: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } }, body))
  refused(withHeader({ '../x': { dtype: 'F32', shape: [2], data_offsets: [0, 8] } }, body))
  refused(
    withHeader(JSON.parse('{"__proto__":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'), body),
  )
  refused(withHeader({ ...entry({}), __metadata__: { a: 1 } }, body))
  const huge = new Uint8Array(16)
  new DataView(huge.buffer).setBigUint64(0, 2n ** 63n, true)
  refused(huge)
})

test('bytes at random are never read as weights', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => refused(bytes)),
    { seed: 7 },
  )
})

const checkpoint: Checkpoint = {
  engine: 'wasm',
  config: { seed: 7, model: { arch: 'small_cnn', dropout: 0.2 } },
  cursor: {
    epoch: 2,
    batch: 3,
    step: 17,
    lossSum: 0.1 + 0.2,
    lossKnown: 12,
    best: { epoch: 1, value: 0.75 },
    waited: 1,
    history: [{ epoch: 1, step: 7, metrics: { 'val/loss': 1 / 3 }, best: true }],
  },
  state: { ...tensors, 'opt/m': { shape: [1], data: Float32Array.of(2) } },
  best: { 'head/bias': { shape: [], data: Float32Array.of(8) } },
}

test('checkpoints round-trip', () => {
  assert.deepEqual(decodeCheckpoint(encodeCheckpoint(checkpoint)), checkpoint)
  const { best: _, ...rest } = checkpoint
  const without = { ...rest, best: undefined }
  assert.deepEqual(decodeCheckpoint(encodeCheckpoint(without)), without)
})

test('a flipped bit anywhere in a checkpoint is noticed', () => {
  const bytes = encodeCheckpoint(checkpoint)
  for (let i = 0; i < bytes.length; i++) {
    const flipped = bytes.slice()
    flipped[i]! ^= 1
    let back: Checkpoint | undefined
    try {
      back = decodeCheckpoint(flipped)
    } catch (error) {
      assert.ok(isCxvError(error, 'CHECKPOINT_INVALID'), `byte ${i}`)
      continue
    }
    // The only harmless flips are in the padding of the header.
    assert.deepEqual(back, checkpoint, `byte ${i}`)
  }
})
