import { createRandom, seedOf } from '../../src/base/index.ts'
import type { Batch, BatchSource, SplitName, Task, TrainingData } from '../../src/dataset/types.ts'

interface SyntheticOptions {
  readonly task?: Task
  readonly labels?: number
  readonly sizes?: Readonly<Record<SplitName, number>>
  readonly pixels?: number
  readonly batch?: number
  readonly seed?: number
  /** Share of labels that are unknown. */
  readonly unknown?: number
  /** Called before each batch is handed out. */
  readonly onBatch?: (split: SplitName, epoch: number, batch: number) => void
}

/** Images of noise in which each label present brightens its own quadrant. Two images a patient. */
export function syntheticData(options: SyntheticOptions = {}): TrainingData {
  const { task = 'binary', labels = 1, seed = 1 } = options
  const sizes = options.sizes ?? { train: 22, val: 10, test: 10 }
  const source = (split: SplitName): BatchSource =>
    createSource({ ...options, task, labels, seed }, split, sizes[split])
  return {
    task,
    labels: Array.from({ length: labels }, (_, i) => `finding ${i}`),
    train: source('train'),
    val: source('val'),
    test: source('test'),
  }
}

function createSource(
  options: SyntheticOptions & { task: Task; labels: number; seed: number },
  split: SplitName,
  size: number,
): BatchSource {
  const { task, labels, seed, pixels = 8, batch: batchSize = 4, unknown = 0, onBatch } = options
  const random = createRandom(seedOf(seed, split))
  const area = pixels * pixels
  const x = Float32Array.from({ length: size * area }, () => random.normal())
  const y = new Float32Array(size * labels)
  for (let i = 0; i < size; i++) {
    if (task === 'multiclass') y[i * labels + (i % labels)] = 1
    else for (let l = 0; l < labels; l++) y[i * labels + l] = (i >> l) & 1
    for (let l = 0; l < labels; l++) {
      if (y[i * labels + l] === 1) brighten(x.subarray(i * area, (i + 1) * area), pixels, l)
      if (random.next() < unknown) y[i * labels + l] = NaN
    }
  }
  const steps = Math.ceil(size / batchSize)
  const orderOf = (epoch: number): Uint32Array => {
    const order = Uint32Array.from({ length: size }, (_, i) => i)
    return split === 'train' ? createRandom(seedOf(seed, 'order', epoch)).shuffle(order) : order
  }
  return {
    split,
    size,
    batchSize,
    steps,
    xShape: [pixels, pixels, 1],
    labels: Array.from({ length: labels }, (_, i) => `finding ${i}`),
    groups: Array.from({ length: size }, (_, i) => `${split}-${i >> 1}`),
    y,
    async *epoch(epoch, { startBatch = 0 } = {}) {
      const order = orderOf(epoch)
      for (let step = startBatch; step < steps; step++) {
        onBatch?.(split, epoch, step)
        const indices = order.slice(step * batchSize, (step + 1) * batchSize)
        const rows = <T extends Float32Array>(from: T, width: number): Float32Array => {
          const out = new Float32Array(indices.length * width)
          indices.forEach((index, row) =>
            out.set(from.subarray(index * width, (index + 1) * width), row * width),
          )
          return out
        }
        const batch: Batch = {
          x: rows(x, area),
          y: rows(y, labels),
          indices,
          size: indices.length,
        }
        yield await Promise.resolve(batch)
      }
    },
  }
}

function brighten(image: Float32Array, pixels: number, label: number): void {
  const half = pixels / 2
  const top = label & 1 ? half : 0
  const left = label & 2 ? half : 0
  for (let r = top; r < top + half; r++) {
    for (let c = left; c < left + half; c++) image[r * pixels + c]! += 2
  }
}
