import assert from 'node:assert/strict'
import { test } from 'node:test'
import { contentId, createRandom } from '../base/index.ts'
import type { AugmentOp, ImageConfig } from '../format/types.ts'
import { createBatchSource } from './batches.ts'

const SIDE = 16
const IMAGES = 8

/** Middle greys, so that nothing is cut at black or white. */
const pictures = Array.from({ length: IMAGES }, (_, n) => {
  const random = createRandom(n)
  return Uint8Array.from({ length: SIDE * SIDE }, () => 100 + random.int(50))
})

/** What the net sees of each picture in epoch 0. */
async function inputs(
  normalize: ImageConfig['normalize'],
  ops: readonly AugmentOp[],
): Promise<readonly Float32Array[]> {
  const source = createBatchSource({
    split: 'train',
    task: 'binary',
    labels: ['sick'],
    samples: pictures.map((_, n) => ({
      path: `${n}.png`,
      id: contentId('0'.repeat(64)),
      group: String(n),
      split: 'train',
      y: [n % 2],
    })),
    pixels: (index) => pictures[index] as Uint8Array,
    image: { size: [SIDE, SIDE], channels: 1, resize: 'stretch', normalize },
    batchSize: IMAGES,
    seed: 7,
    training: {
      balance: { method: 'none', target: 1 },
      augment: {
        applyTo: ops.length === 0 ? 'none' : 'all',
        minorityBelow: 0.5,
        functionsPerClass: 1,
        ops,
      },
    },
  })
  const found: Float32Array[] = []
  for await (const { x, indices } of source.epoch(0)) {
    const area = SIDE * SIDE
    for (const [k, index] of indices.entries()) found[index] = x.slice(k * area, (k + 1) * area)
  }
  return found
}

const meanOf = (x: Float32Array): number => x.reduce((sum, v) => sum + v, 0) / x.length
const deviationOf = (x: Float32Array): number => {
  const mean = meanOf(x)
  return Math.sqrt(x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length)
}

test('contrast scales the input of a net, however it is normalised', async () => {
  const op: AugmentOp = { op: 'contrast', range: 0.8, p: 1 }
  for (const normalize of ['per_image', 'symmetric', 'unit'] as const) {
    const plain = await inputs(normalize, [])
    const changed = await inputs(normalize, [op])
    const factors = changed.map((x, n) => deviationOf(x) / deviationOf(plain[n]!))
    assert.ok(Math.max(...factors) > 1.3 && Math.min(...factors) < 0.7, factors.join(' '))
    for (const [n, x] of changed.entries()) {
      assert.ok(Math.abs(meanOf(x) - meanOf(plain[n]!)) < 1e-3)
    }
  }
})

test('brightness b moves the input of a net by b over the deviation of the image', async () => {
  const op: AugmentOp = { op: 'brightness', range: 0.2, p: 1 }
  const plain = await inputs('per_image', [])
  const changed = await inputs('per_image', [op])
  const unit = await inputs('unit', [op])
  const moves = changed.map((x, n) => meanOf(x) - meanOf(plain[n]!))
  for (const [n, picture] of pictures.entries()) {
    const grey = Float32Array.from(picture, (v) => v / 255)
    const brightness = meanOf(unit[n]!) - meanOf(grey)
    assert.ok(Math.abs(moves[n]! - brightness / deviationOf(grey)) < 1e-3)
  }
  assert.ok(Math.max(...moves) > 1 && Math.min(...moves) < -1, moves.join(' '))
})

test('geometry is normalised as the image that the net sees', async () => {
  const op: AugmentOp = { op: 'zoom', range: [0.5, 0.5], p: 1 }
  for (const x of await inputs('per_image', [op])) {
    assert.ok(Math.abs(meanOf(x)) < 1e-3)
    assert.ok(Math.abs(deviationOf(x) - 1) < 1e-3)
  }
})
