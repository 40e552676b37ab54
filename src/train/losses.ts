import type { TrainingData } from '../dataset/types.ts'
import type { HostTensor, Ops, Tensor, Tensor1D, TrainSettings } from './types.ts'

/** `auto` weights stop here: beyond it, a handful of positives would decide every step. */
const MAX_AUTO_WEIGHT = 20

/**
 * The weight of a positive, one a label: 1 unless the loss is weighted. `auto` is negatives / positives
 * among the known labels of the train split without copies, at least 1 / 20 and at most 20.
 */
export function positiveWeights(
  settings: Pick<TrainSettings, 'loss'>,
  labels: number,
  y: TrainingData['train']['y'],
): readonly number[] {
  const { name, posWeight } = settings.loss
  if (name !== 'weighted_bce') return new Array<number>(labels).fill(1)
  if (typeof posWeight === 'number') return new Array<number>(labels).fill(posWeight)
  if (posWeight !== 'auto') return posWeight
  return Array.from({ length: labels }, (_, label) => {
    let positives = 0
    let negatives = 0
    for (let i = label; i < y.length; i += labels) {
      if (y[i] === 1) positives++
      else if (y[i] === 0) negatives++
    }
    if (positives === 0 || negatives === 0) return 1
    return Math.min(MAX_AUTO_WEIGHT, Math.max(1 / MAX_AUTO_WEIGHT, negatives / positives))
  })
}

/** Labels ready for a step: unknown ones are 0 with weight 0. */
export interface Targets {
  /** [B, L] */
  readonly y: HostTensor
  /** [B, L] 1 / (known labels of the batch), or 0 where unknown: the loss is a plain weighted sum. */
  readonly weight: HostTensor
  /** Known labels of the batch (categorical: known samples). */
  readonly known: number
}

/** @param y [size, labels] with NaN where unknown */
export function targetsOf(
  y: Float32Array,
  size: number,
  labels: number,
  categorical: boolean,
): Targets {
  const target = new Float32Array(y.length)
  const weight = new Float32Array(y.length)
  let known = 0
  for (let row = 0; row < size; row++) {
    const cells = y.subarray(row * labels, (row + 1) * labels)
    const rowKnown = cells.every((value) => !Number.isNaN(value))
    if (categorical && rowKnown) known++
    for (let label = 0; label < labels; label++) {
      const value = cells[label]!
      if (categorical ? !rowKnown : Number.isNaN(value)) continue
      target[row * labels + label] = value
      weight[row * labels + label] = 1
      if (!categorical) known++
    }
  }
  if (known > 0) for (let i = 0; i < weight.length; i++) weight[i]! /= known
  const shape = [size, labels]
  return { y: { shape, data: target }, weight: { shape, data: weight }, known }
}

/** Loss of one batch as a scalar tensor. @param logits [B, L] @param y [B, L] @param weight [B, L] */
export type LossFunction = (ops: Ops, logits: Tensor, y: Tensor, weight: Tensor) => Tensor

/**
 * Binary cross-entropy on logits, p * y * softplus(-l) + (1 - y) * softplus(l) with p the positive weight,
 * written without overflow as softplus(l) * (1 + (p - 1) y) - p * y * l.
 */
const binaryLoss =
  (posWeight: readonly number[], smoothing: number): LossFunction =>
  ({ tf }, logits, y, weight) => {
    const smooth = smoothing === 0 ? y : tf.add(tf.mul(y, 1 - smoothing), smoothing / 2)
    if (posWeight.every((p) => p === 1)) {
      const each = tf.sub(tf.softplus(logits), tf.mul(logits, smooth))
      return tf.sum(tf.mul(each, weight))
    }
    const p: Tensor1D = tf.tensor1d([...posWeight])
    const scale = tf.add(tf.mul(smooth, tf.sub(p, 1)), 1)
    const each = tf.sub(tf.mul(tf.softplus(logits), scale), tf.mul(logits, tf.mul(smooth, p)))
    return tf.sum(tf.mul(each, weight))
  }

/** Cross-entropy of the softmax: -sum(y * logSoftmax(l)). */
const categoricalLoss =
  (labels: number, smoothing: number): LossFunction =>
  ({ tf }, logits, y, weight) => {
    const smooth = smoothing === 0 ? y : tf.add(tf.mul(y, 1 - smoothing), smoothing / labels)
    return tf.neg(tf.sum(tf.mul(tf.mul(tf.logSoftmax(logits), smooth), weight)))
  }

export const isCategorical = (settings: Pick<TrainSettings, 'loss'>): boolean =>
  settings.loss.name === 'categorical_ce'

export function createLoss(
  settings: Pick<TrainSettings, 'loss'>,
  posWeight: readonly number[],
): LossFunction {
  const { labelSmoothing } = settings.loss
  return isCategorical(settings)
    ? categoricalLoss(posWeight.length, labelSmoothing)
    : binaryLoss(posWeight, labelSmoothing)
}

/**
 * Mean loss of a split in double precision, from logits: the same number on every engine for the same
 * logits. Unsmoothed. NaN when nothing is known.
 * @param logits [n, labels] @param y [n, labels] with NaN where unknown
 */
export function lossOf(
  settings: Pick<TrainSettings, 'loss'>,
  posWeight: readonly number[],
  logits: Float32Array,
  y: Float32Array,
): number {
  const labels = posWeight.length
  let sum = 0
  let known = 0
  for (let row = 0; row < y.length; row += labels) {
    if (isCategorical(settings)) {
      const cells = y.subarray(row, row + labels)
      if (cells.some((value) => Number.isNaN(value))) continue
      const scores = logits.subarray(row, row + labels)
      const top = Math.max(...scores)
      const norm = top + Math.log(scores.reduce((total, l) => total + Math.exp(l - top), 0))
      cells.forEach((value, label) => (sum += value * (norm - scores[label]!)))
      known++
      continue
    }
    for (let label = 0; label < labels; label++) {
      const value = y[row + label]!
      if (Number.isNaN(value)) continue
      const l = logits[row + label]!
      const p = posWeight[label]!
      sum += softplus(l) * (1 + (p - 1) * value) - p * value * l
      known++
    }
  }
  return known === 0 ? NaN : sum / known
}

const softplus = (l: number): number => Math.max(l, 0) + Math.log1p(Math.exp(-Math.abs(l)))
