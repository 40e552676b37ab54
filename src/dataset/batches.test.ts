import assert from 'node:assert/strict'
import { test } from 'node:test'
import { contentId } from '../base/index.ts'
import type { AugmentConfig, BalanceConfig, ImageConfig } from '../format/types.ts'
import { applyGeometry, applyIntensity, classFunctions } from './augment.ts'
import { createBatchSource, minorityClasses, type SourceOptions } from './batches.ts'
import { describeAugmentation } from './open.ts'
import type { Batch, BatchSource, PinnedSample } from './types.ts'

const SIDE = 6
const AREA = SIDE * SIDE
const IMAGE: ImageConfig = { size: [SIDE, SIDE], channels: 1, resize: 'pad', normalize: 'unit' }
const NO_BALANCE: BalanceConfig = { method: 'none', target: 1 }
const NO_AUGMENT: AugmentConfig = {
  applyTo: 'none',
  minorityBelow: 0.5,
  functionsPerClass: 10,
  ops: [
    { op: 'rotate', degrees: [-10, 10], p: 0.5 },
    { op: 'shift', fraction: 0.2, p: 0.5 },
    { op: 'brightness', range: 0.2, p: 0.5 },
  ],
}

const sample = (i: number, y: readonly number[]): PinnedSample => ({
  path: `images/${i}.png`,
  id: contentId(i.toString(16).padStart(64, '0')),
  group: `p${i >> 1}`,
  split: 'train',
  y,
})
/** Image `i` has its own grey in the corner and a pattern of its own beside it. */
const pixels = (i: number): Uint8Array =>
  Uint8Array.from({ length: AREA }, (_, k) => (k === 0 ? i : (k * 37 + i * 11) % 256))
const scaled = (i: number): Float32Array => Float32Array.from(pixels(i), (v) => v / 255)

/** 23 images: 16 without the finding, 7 with it. */
const BINARY = Array.from({ length: 23 }, (_, i) => sample(i, [i % 3 === 2 ? 1 : 0]))

function sourceOf(more: Partial<SourceOptions> = {}): BatchSource {
  return createBatchSource({
    split: 'train',
    task: 'binary',
    labels: ['Effusion'],
    samples: BINARY,
    pixels,
    image: IMAGE,
    batchSize: 4,
    seed: 7,
    training: { balance: NO_BALANCE, augment: NO_AUGMENT },
    ...more,
  })
}

async function epochOf(source: BatchSource, epoch = 0, startBatch = 0): Promise<Batch[]> {
  const batches: Batch[] = []
  for await (const batch of source.epoch(epoch, { startBatch })) batches.push(batch)
  return batches
}
const orderOf = (batches: readonly Batch[]): number[] => batches.flatMap((b) => [...b.indices])
const imagesOf = (batches: readonly Batch[]): { index: number; x: Float32Array; y: number[] }[] =>
  batches.flatMap((b) =>
    [...b.indices].map((index, k) => ({
      index,
      x: b.x.subarray(k * AREA, (k + 1) * AREA),
      y: [...b.y.subarray((k * b.y.length) / b.size, ((k + 1) * b.y.length) / b.size)],
    })),
  )
const sorted = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b)

test('each sample comes once an epoch, with its own pixels and labels', async () => {
  const source = sourceOf()
  const batches = await epochOf(source)
  assert.equal(source.steps, 6)
  assert.deepEqual(
    batches.map((b) => b.size),
    [4, 4, 4, 4, 4, 3],
  )
  assert.deepEqual(sorted(orderOf(batches)), [...BINARY.keys()])
  for (const { index, x, y } of imagesOf(batches)) {
    assert.deepEqual(x, scaled(index))
    assert.deepEqual(y, BINARY[index]!.y)
  }
})

test('the order is a function of seed and epoch; what is not trained on keeps the order of the list', async () => {
  const first = orderOf(await epochOf(sourceOf()))
  assert.deepEqual(orderOf(await epochOf(sourceOf())), first)
  assert.notDeepEqual(orderOf(await epochOf(sourceOf(), 1)), first)
  assert.notDeepEqual(orderOf(await epochOf(sourceOf({ seed: 8 }))), first)
  assert.deepEqual(orderOf(await epochOf(sourceOf({ batchSize: 5 }))), first)
  const held = createBatchSource({
    split: 'val',
    task: 'binary',
    labels: ['Effusion'],
    samples: BINARY,
    pixels,
    image: IMAGE,
    batchSize: 4,
    seed: 7,
  })
  for (const epoch of [0, 3]) {
    assert.deepEqual(orderOf(await epochOf(held, epoch)), [...BINARY.keys()])
  }
})

test('resumed at any batch, the rest of the epoch is the same', async () => {
  const augment = { ...NO_AUGMENT, applyTo: 'all' } as const
  const whole = await epochOf(sourceOf({ training: { balance: NO_BALANCE, augment } }), 2)
  for (let start = 0; start <= whole.length; start++) {
    const again = sourceOf({ training: { balance: NO_BALANCE, augment } })
    assert.deepEqual(await epochOf(again, 2, start), whole.slice(start), `from ${start}`)
  }
})

test('augmentation of all is a function of seed, epoch and sample, whatever the order and batch', async () => {
  const augment = { ...NO_AUGMENT, applyTo: 'all' } as const
  const training = { balance: NO_BALANCE, augment }
  const bySample = async (
    epoch: number,
    more: Partial<SourceOptions> = {},
  ): Promise<ReadonlyMap<number, Float32Array>> =>
    new Map(
      imagesOf(await epochOf(sourceOf({ training, ...more }), epoch)).map((i) => [i.index, i.x]),
    )
  const first = await bySample(0)
  assert.deepEqual(await bySample(0, { batchSize: 9 }), first)
  const [later, other] = [await bySample(1), await bySample(0, { seed: 8 })]
  const changed = (from: ReadonlyMap<number, Float32Array>): number =>
    BINARY.filter((_s, i) => Buffer.compare(bytes(from.get(i)!), bytes(first.get(i)!)) !== 0).length
  // With three operations of p 0.5, one image in eight stays as it is in an epoch, one in 64 in two.
  assert.ok(changed(later) > 15, `${changed(later)} of 23 changed with the epoch`)
  assert.ok(changed(other) > 15, `${changed(other)} of 23 changed with the seed`)
})
const bytes = (x: Float32Array): Uint8Array => new Uint8Array(x.slice().buffer)

test('minority: ten functions for each class under the threshold, a copy of each of its images by each', async () => {
  const augment = { ...NO_AUGMENT, applyTo: 'minority' } as const
  const training = { balance: NO_BALANCE, augment }
  const source = sourceOf({ training })
  // 7 of 16 is under a half.
  assert.equal(source.size, 23 + 7 * 10)
  const functions = classFunctions(augment, 7, 'Effusion')
  const images = imagesOf(await epochOf(source))
  for (const [i, { y }] of BINARY.entries()) {
    const copies = images.filter(({ index }) => index === i)
    for (const copy of copies) assert.deepEqual(copy.y, y)
    const wanted = [
      scaled(i),
      ...(y[0] === 1
        ? functions.map((f) => applyIntensity(applyGeometry(scaled(i), [SIDE, SIDE, 1], f), f))
        : []),
    ]
    const keys = (of: readonly Float32Array[]): string[] => of.map((x) => x.join()).sort()
    assert.deepEqual(keys(copies.map(({ x }) => x)), keys(wanted), `image ${i}`)
  }
  // The copies of one epoch are those of every other.
  const keys = (of: typeof images): string[] => of.map(({ index, x }) => `${index} ${x.join()}`)
  assert.deepEqual(keys(imagesOf(await epochOf(source, 5))).sort(), keys(images).sort())
})

test('minority: a class at the threshold is none; the record lists what was done', () => {
  const augment = { ...NO_AUGMENT, applyTo: 'minority' } as const
  const options = { task: 'binary', labels: ['Effusion'], samples: BINARY } as const
  const at = (minorityBelow: number): readonly (string | null)[] =>
    minorityClasses(options, { ...augment, minorityBelow }).map(({ label }) => label)
  assert.deepEqual(at(7 / 16), [])
  assert.deepEqual(at(7 / 16 + 0.001), ['Effusion'])
  const rare = BINARY.map((s) => ({ ...s, y: [1 - s.y[0]!] }))
  assert.deepEqual(
    minorityClasses({ ...options, samples: rare }, augment).map((c) => [c.label, c.members.length]),
    [[null, 7]],
  )
  const said = describeAugmentation({ ...options, augment, seed: 7 })
  assert.deepEqual(said, {
    applyTo: 'minority',
    classes: { Effusion: { images: 7, functions: classFunctions(augment, 7, 'Effusion') } },
  })
})

test('multilabel minority: an image of two rare classes goes through the functions of both', () => {
  const samples = [
    ...Array.from({ length: 12 }, (_, i) => sample(i, [1, 0, 0])),
    sample(12, [0, 1, 1]),
    sample(13, [0, 1, 0]),
    sample(14, [0, 0, 1]),
  ]
  const augment = { ...NO_AUGMENT, applyTo: 'minority' } as const
  const source = sourceOf({
    task: 'multilabel',
    labels: ['A', 'B', 'C'],
    samples,
    training: { balance: NO_BALANCE, augment },
  })
  assert.equal(source.size, 15 + 2 * 10 + 2 * 10)
})

test('oversampling brings each class to its share of the largest, by repeats of its images', async () => {
  for (const [target, wanted] of [
    [1, 16],
    [0.75, 12],
    [0.3, 7],
  ] as const) {
    const balance = { method: 'oversample', target } as const
    const source = sourceOf({ training: { balance, augment: NO_AUGMENT } })
    const batches = await epochOf(source)
    const order = orderOf(batches)
    const positives = order.filter((i) => BINARY[i]!.y[0] === 1)
    assert.equal(positives.length, wanted, `target ${target}`)
    assert.equal(order.length, 16 + wanted)
    assert.equal(source.size, order.length)
    const times = [...BINARY.keys()].map((i) => order.filter((o) => o === i).length)
    const ofPositives = times.filter((_n, i) => BINARY[i]!.y[0] === 1)
    assert.ok(Math.max(...ofPositives) - Math.min(...ofPositives) <= 1, 'repeats are even')
    assert.ok(times.every((n) => n >= 1))
    for (const { index, y } of imagesOf(batches)) assert.deepEqual(y, BINARY[index]!.y)
  }
})

test('oversampled copies are augmented each on its own', async () => {
  const balance = { method: 'oversample', target: 1 } as const
  const ops = [{ op: 'brightness', range: 0.2, p: 1 }] as const
  const augment = { ...NO_AUGMENT, applyTo: 'all', ops } as const
  const images = imagesOf(await epochOf(sourceOf({ training: { balance, augment } })))
  assert.equal(new Set(images.map(({ x }) => x.join())).size, images.length)
})

test('normalisation: 0 to 1, -1 to 1, or zero mean and unit variance; a flat image stays finite', async () => {
  const of = async (normalize: ImageConfig['normalize'], from = pixels): Promise<Float32Array> =>
    imagesOf(await epochOf(sourceOf({ image: { ...IMAGE, normalize }, pixels: from })))[0]!.x
  const unit = await of('unit')
  const symmetric = await of('symmetric')
  for (const [i, v] of symmetric.entries()) assert.ok(Math.abs(v - (2 * unit[i]! - 1)) < 1e-6)
  const own = await of('per_image')
  const mean = own.reduce((a, b) => a + b, 0) / AREA
  const variance = own.reduce((a, b) => a + (b - mean) ** 2, 0) / AREA
  assert.ok(Math.abs(mean) < 1e-5 && Math.abs(variance - 1) < 1e-4, `${mean}, ${variance}`)
  const flat = await of('per_image', () => new Uint8Array(AREA).fill(90))
  assert.ok(flat.every((v) => Math.abs(v) < 1e-3))
})

test('an epoch ends at once when it is interrupted', async () => {
  const controller = new AbortController()
  const seen: number[] = []
  await assert.rejects(async () => {
    for await (const batch of sourceOf().epoch(0, { signal: controller.signal })) {
      seen.push(batch.size)
      controller.abort()
    }
  })
  assert.deepEqual(seen, [4])
})
