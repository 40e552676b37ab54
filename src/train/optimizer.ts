import type { Parameter } from './layers.ts'
import type { HostTensors, Ops, Tensor, Tensor1D, Tensors, TrainSettings } from './types.ts'

/*
 * The optimizer works on one flat vector of all trained arrays in the model's order: a tenth of the
 * kernel launches of one pass per array, which is what an eager step of many small arrays pays for.
 */

type OptimizerSettings = TrainSettings['optimizer']

/** Kingma and Ba 2014 (arXiv 1412.6980), their defaults; epsilon as in PyTorch. */
const BETA1 = 0.9
const BETA2 = 0.999
const EPSILON = 1e-8

/** Names of the optimizer's own state; a model's arrays never start with `opt/`. */
const STATE_NAMES = { adam: ['opt/m', 'opt/v'], sgd: ['opt/velocity'] } as const

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

export const trainedOf = (parameters: readonly Parameter[]): readonly Parameter[] =>
  parameters.filter(({ kind }) => kind !== 'running')

export function initialOptimizerState(
  settings: OptimizerSettings,
  parameters: readonly Parameter[],
): HostTensors {
  const size = trainedOf(parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0)
  return Object.fromEntries(
    STATE_NAMES[settings.name].map((name) => [
      name,
      { shape: [size], data: new Float32Array(size) },
    ]),
  )
}

/**
 * The numbers that change from step to step, as inputs of the step, so that a traced step stays true.
 * @param step counted from 1
 */
export const optimizerFeed = (lr: number, step: number): HostTensors => ({
  lr: { shape: [], data: Float32Array.of(lr) },
  // Bias corrections of Adam's moments.
  mScale: { shape: [], data: Float32Array.of(1 / (1 - BETA1 ** step)) },
  vScale: { shape: [], data: Float32Array.of(1 / (1 - BETA2 ** step)) },
})

export interface Update {
  /** New values of the trained arrays and of the optimizer's state. */
  readonly state: Tensors
  /** Global norm of the gradient before clipping. */
  readonly gradientNorm: Tensor
}

const flatten = ({ tf }: Ops, tensors: readonly Tensor[]): Tensor1D =>
  tf.concat1d(tensors.map((tensor) => tf.reshape(tensor, [tensor.size]) as Tensor1D))

const ROW = 1024

/**
 * Euclidean norm of a vector. In rows, then over them: wasm adds one number after the other, and over
 * the 11 million of resnet18 a float32 sum of squares came out 1.7 % wrong, by rows 3e-7.
 */
export function globalNorm({ tf }: Ops, vector: Tensor1D): Tensor {
  const rows = Math.ceil(vector.size / ROW)
  const padded = tf.pad1d(vector, [0, rows * ROW - vector.size])
  return tf.sqrt(tf.sum(tf.sum(tf.square(tf.reshape(padded, [rows, ROW])), 1)))
}

/** 1 where weight decay applies: kernels, not gains or biases. */
function decayMask({ tf }: Ops, trained: readonly Parameter[]): Tensor1D {
  return tf.concat1d(
    trained.map(
      ({ kind, shape }) => tf.fill([sizeOf(shape)], kind === 'kernel' ? 1 : 0) as Tensor1D,
    ),
  )
}

/**
 * One update. Adam with decoupled decay (Loshchilov and Hutter 2017, arXiv 1711.05101) or SGD with
 * momentum and decay in the gradient, after clipping by the global norm.
 * @param gradients in the order of `trained`
 */
export function applyOptimizer(
  ops: Ops,
  settings: OptimizerSettings,
  trained: readonly Parameter[],
  { state, feed, gradients }: { state: Tensors; feed: Tensors; gradients: readonly Tensor[] },
): Update {
  const { tf } = ops
  const raw = flatten(ops, gradients)
  const gradientNorm = globalNorm(ops, raw)
  const { clipNorm } = settings
  const gradient =
    clipNorm > 0
      ? tf.mul<Tensor1D>(raw, tf.minimum(1, tf.div(clipNorm, tf.add(gradientNorm, 1e-6))))
      : raw
  const values = flatten(
    ops,
    trained.map(({ name }) => state[name]!),
  )
  const vectors = { state, feed, values, gradient }
  const next =
    settings.name === 'adam'
      ? adam(ops, settings, trained, vectors)
      : sgd(ops, settings, trained, vectors)
  const sizes = trained.map(({ shape }) => sizeOf(shape))
  const parts = tf.split(next.values, sizes)
  const updated = trained.map(
    ({ name, shape }, i) => [name, tf.reshape(parts[i]!, [...shape])] as const,
  )
  return { state: { ...Object.fromEntries(updated), ...next.state }, gradientNorm }
}

interface Vectors {
  readonly state: Tensors
  readonly feed: Tensors
  readonly values: Tensor1D
  readonly gradient: Tensor1D
}
interface NextVectors {
  readonly values: Tensor1D
  readonly state: Tensors
}

function adam(
  ops: Ops,
  settings: OptimizerSettings,
  trained: readonly Parameter[],
  { state, feed, values, gradient }: Vectors,
): NextVectors {
  const { tf } = ops
  const lr = feed['lr']!
  const m = tf.add(tf.mul(state['opt/m']!, BETA1), tf.mul(gradient, 1 - BETA1))
  const v = tf.add(tf.mul(state['opt/v']!, BETA2), tf.mul(tf.square(gradient), 1 - BETA2))
  const root = tf.add(tf.sqrt(tf.mul(v, feed['vScale']!)), EPSILON)
  const move = tf.mul(tf.div(m, root), tf.mul(lr, feed['mScale']!))
  let next = tf.sub<Tensor1D>(values, move)
  if (settings.weightDecay > 0) {
    const shrink = tf.mul(decayMask(ops, trained), tf.mul(lr, settings.weightDecay))
    next = tf.sub(next, tf.mul(values, shrink))
  }
  return { values: next, state: { 'opt/m': m, 'opt/v': v } }
}

function sgd(
  ops: Ops,
  settings: OptimizerSettings,
  trained: readonly Parameter[],
  { state, feed, values, gradient }: Vectors,
): NextVectors {
  const { tf } = ops
  const { weightDecay, momentum } = settings
  const pull =
    weightDecay > 0
      ? tf.add(gradient, tf.mul(values, tf.mul(decayMask(ops, trained), weightDecay)))
      : gradient
  const velocity = tf.add(tf.mul(state['opt/velocity']!, momentum), pull)
  const next = tf.sub<Tensor1D>(values, tf.mul(velocity, feed['lr']!))
  return { values: next, state: { 'opt/velocity': velocity } }
}

/**
 * The learning rate of a step: warm-up is linear from lr / warm-up steps; cosine then falls to `minLr`
 * at the last step (Loshchilov and Hutter 2016, arXiv 1608.03983, without restarts).
 * @param step counted from 0
 */
export function learningRate(
  settings: Pick<TrainSettings, 'optimizer' | 'schedule' | 'train'>,
  step: number,
  stepsPerEpoch: number,
): number {
  const { lr } = settings.optimizer
  const { name, warmupEpochs, minLr } = settings.schedule
  const warmup = Math.round(warmupEpochs * stepsPerEpoch)
  if (step < warmup) return (lr * (step + 1)) / warmup
  if (name === 'constant') return lr
  const span = settings.train.epochs * stepsPerEpoch - warmup
  const share = span <= 1 ? 1 : Math.min(1, (step - warmup) / (span - 1))
  return minLr + ((lr - minLr) * (1 + Math.cos(Math.PI * share))) / 2
}
