import type { ContentId } from '../base/index.ts'

export type SplitName = 'train' | 'val' | 'test'
export type Task = 'binary' | 'multiclass' | 'multilabel'

/** One row of a sample list: an image, its patient, its split, its labels. */
export interface PinnedSample {
  readonly path: string
  readonly id: ContentId
  /** The unit that may never cross a split: the patient. */
  readonly group: string
  readonly split: SplitName
  /** One number a label: 1 present, 0 absent, NaN unknown (left out of loss and metric). */
  readonly y: readonly number[]
}

/** A batch in the order of the sample list's split after shuffling. All arrays are owned by the receiver. */
export interface Batch {
  /** [size, H, W, C], scaled to the declared range. */
  readonly x: Float32Array
  /** [size, L]; NaN where unknown. Binary: L = 1. Multiclass: one-hot, L = classes. */
  readonly y: Float32Array
  /** [size] Index of each sample within its split. */
  readonly indices: Uint32Array
  readonly size: number
}

/** The batches of one split. Order is a function of (seed, epoch), augmentation of (seed, epoch, sample). */
export interface BatchSource {
  readonly split: SplitName
  /** Samples of one epoch, extra copies of a balanced minority included. */
  readonly size: number
  readonly batchSize: number
  /** Batches of one epoch; the last may be smaller. */
  readonly steps: number
  /** [H, W, C] */
  readonly xShape: readonly [number, number, number]
  readonly labels: readonly string[]
  /** [size] of the split without copies: the patient of each sample. */
  readonly groups: readonly string[]
  /** [split size, L] labels of each sample, row-major; NaN unknown. */
  readonly y: Float32Array
  /** @param startBatch where to begin, for resume */
  epoch(
    epoch: number,
    options?: { readonly startBatch?: number; readonly signal?: AbortSignal },
  ): AsyncIterable<Batch>
}

/** All that train/ knows of data. */
export interface TrainingData {
  readonly task: Task
  readonly labels: readonly string[]
  readonly train: BatchSource
  /** Neither shuffled nor augmented. */
  readonly val: BatchSource
  readonly test: BatchSource
}
