import { createRandom, seedOf } from '../base/index.ts'
import type { AugmentConfig, BalanceConfig, ImageConfig } from '../format/types.ts'
import {
  applyGeometry,
  applyIntensity,
  type AugmentFunction,
  classFunctions,
  drawFunction,
} from './augment.ts'
import type { Batch, BatchSource, PinnedSample, SplitName, Task } from './types.ts'

/** Pixels of a sample by its index in the split: uint8 [H, W, C]. */
export type PixelsOf = (index: number) => Uint8Array

export interface SourceOptions {
  readonly split: SplitName
  readonly task: Task
  readonly labels: readonly string[]
  /** Of this split only. */
  readonly samples: readonly PinnedSample[]
  readonly pixels: PixelsOf
  readonly image: ImageConfig
  readonly batchSize: number
  readonly seed: number
  /** Training only: shuffle, balance and augment. */
  readonly training?: { readonly balance: BalanceConfig; readonly augment: AugmentConfig }
}

/** One image of an epoch: a sample, and which copy of it. */
interface Item {
  readonly index: number
  /** 0: the image itself. */
  readonly copy: number
  /** The class function this copy goes through, if it is one of a minority class. */
  readonly fn?: AugmentFunction
}

/** Batches over the samples of one split. The same options give the same batches, on every machine. */
export function createBatchSource(options: SourceOptions): BatchSource {
  const { split, samples, labels, image, batchSize, seed, training } = options
  const xShape = [image.size[0], image.size[1], image.channels] as const
  const items = training === undefined ? plainItems(samples) : trainingItems(options)
  const y = new Float32Array(samples.length * labels.length)
  for (const [i, sample] of samples.entries()) y.set(sample.y, i * labels.length)
  const collate = (epoch: number, members: readonly Item[]): Batch => {
    const pixelsPer = xShape[0] * xShape[1] * xShape[2]
    const x = new Float32Array(members.length * pixelsPer)
    const labelled = new Float32Array(members.length * labels.length)
    for (const [k, item] of members.entries()) {
      x.set(pixelsFor(options, epoch, item, xShape), k * pixelsPer)
      labelled.set(
        y.subarray(item.index * labels.length, (item.index + 1) * labels.length),
        k * labels.length,
      )
    }
    return {
      x,
      y: labelled,
      indices: Uint32Array.from(members, (m) => m.index),
      size: members.length,
    }
  }
  const steps = Math.ceil(items.length / batchSize)
  return {
    split,
    size: items.length,
    batchSize,
    steps,
    xShape,
    labels,
    groups: samples.map((s) => s.group),
    y,

    async *epoch(epoch, { startBatch = 0, signal } = {}) {
      const order = Uint32Array.from(items.keys())
      if (training !== undefined) createRandom(seedOf(seed, 'order', epoch)).shuffle(order)
      for (let step = startBatch; step < steps; step++) {
        signal?.throwIfAborted()
        const members = Array.from(
          order.subarray(step * batchSize, (step + 1) * batchSize),
          (i) => items[i]!,
        )
        yield collate(epoch, members)
      }
    },
  }
}

const plainItems = (samples: readonly PinnedSample[]): readonly Item[] =>
  samples.map((_s, index) => ({ index, copy: 0 }))

interface ClassMembers {
  /** null: the images with no label, which a binary task has as its second class. */
  readonly label: string | null
  /** Indices in the split. */
  readonly members: readonly number[]
}

function classMembers(
  task: Task,
  labels: readonly string[],
  samples: readonly PinnedSample[],
): readonly ClassMembers[] {
  const classes: ClassMembers[] = labels.map((label, k) => ({
    label,
    members: samples.flatMap((s, i) => (s.y[k] === 1 ? [i] : [])),
  }))
  if (task === 'binary') {
    classes.push({ label: null, members: samples.flatMap((s, i) => (s.y[0] === 0 ? [i] : [])) })
  }
  return classes
}

/** Classes whose share of the largest one is under `minorityBelow`. */
export function minorityClasses(
  options: Pick<SourceOptions, 'task' | 'labels' | 'samples'>,
  augment: AugmentConfig,
): readonly ClassMembers[] {
  const classes = classMembers(options.task, options.labels, options.samples)
  const largest = Math.max(...classes.map((c) => c.members.length))
  return classes.filter(
    (c) => c.members.length > 0 && c.members.length < augment.minorityBelow * largest,
  )
}

function trainingItems(options: SourceOptions): readonly Item[] {
  const { samples, training, seed } = options
  const items: Item[] = [...plainItems(samples)]
  if (training === undefined) return items
  const { augment, balance } = training
  if (augment.applyTo === 'minority') {
    // An image of two minority classes gets the copies of both: each copy is numbered on its own.
    for (const { label, members } of minorityClasses(options, augment)) {
      const functions = classFunctions(augment, seed, label)
      for (const index of members) {
        for (const [k, fn] of functions.entries()) items.push({ index, copy: k + 1, fn })
      }
    }
  }
  if (balance.method === 'oversample') items.push(...oversampled(options, items, balance.target))
  return items
}

/** Repeats images of smaller classes until each class has `target` of the largest one's images. */
function oversampled(
  options: SourceOptions,
  items: readonly Item[],
  target: number,
): readonly Item[] {
  const has = new Map<number, number>()
  for (const { index } of items) has.set(index, (has.get(index) ?? 0) + 1)
  const classes = classMembers(options.task, options.labels, options.samples).map((c) => ({
    ...c,
    n: c.members.reduce((sum, i) => sum + (has.get(i) ?? 0), 0),
  }))
  const largest = Math.max(...classes.map((c) => c.n))
  const extra: Item[] = []
  for (const { members, n } of classes) {
    if (members.length === 0) continue
    const wanted = Math.round(target * largest) - n
    for (let k = 0; k < wanted; k++) {
      extra.push({
        index: members[k % members.length]!,
        copy: 1000 + Math.floor(k / members.length),
      })
    }
  }
  return extra
}

function pixelsFor(
  { pixels, image, seed, training }: SourceOptions,
  epoch: number,
  item: Item,
  xShape: readonly [number, number, number],
): Float32Array {
  const raw = pixels(item.index)
  const x = new Float32Array(raw.length)
  for (let i = 0; i < raw.length; i++) x[i] = raw[i]! / 255
  let fn = item.fn
  if (fn === undefined && training?.augment.applyTo === 'all') {
    const random = createRandom(seedOf(seed, 'augment', epoch, item.index, item.copy))
    fn = drawFunction(training.augment.ops, random)
  }
  if (fn === undefined) return normalise(x, scaleOf(x, image.normalize))
  // By the scale of before brightness and contrast: by its own, each image would undo them.
  const moved = applyGeometry(x, xShape, fn)
  return normalise(applyIntensity(moved, fn), scaleOf(moved, image.normalize))
}

interface Scale {
  readonly centre: number
  readonly unit: number
}

function scaleOf(x: Float32Array, how: ImageConfig['normalize']): Scale {
  if (how === 'unit') return { centre: 0, unit: 1 }
  if (how === 'symmetric') return { centre: 0.5, unit: 0.5 }
  let sum = 0
  for (const v of x) sum += v
  const centre = sum / x.length
  let squares = 0
  for (const v of x) squares += (v - centre) * (v - centre)
  // One grey level over the whole image is 1/255: below that there is nothing to scale.
  return { centre, unit: Math.max(Math.sqrt(squares / x.length), 1 / 255) }
}

/** In place. */
function normalise(x: Float32Array, { centre, unit }: Scale): Float32Array {
  for (let i = 0; i < x.length; i++) x[i] = (x[i]! - centre) / unit
  return x
}
