import { createRandom, seedOf } from '../base/index.ts'
import type {
  HostTensor,
  HostTensors,
  Ops,
  Tensor,
  Tensor1D,
  Tensor2D,
  Tensor4D,
  Tensors,
} from './types.ts'

/**
 * A named array of a model. `kernel`: trained, decayed. `offset`: trained, not decayed (gains, biases).
 * `running`: moments for evaluation, moved by the step and not by the gradient.
 */
export interface Parameter {
  readonly name: string
  readonly shape: readonly number[]
  readonly kind: 'kernel' | 'offset' | 'running'
  /** Standard deviation of a normal start, or a constant. */
  readonly init: { readonly std: number } | { readonly value: number }
}

/** A model: its arrays, and a function of them. */
export interface Model {
  readonly parameters: readonly Parameter[]
  /** F: width of the features before the head, what dropout masks. */
  readonly features: number
  /** @param x [B, H, W, C] @returns [B, L] */
  apply(scope: Scope, x: Tensor4D): Tensor2D
}

/** What a model function sees of one pass. */
export interface Scope {
  readonly ops: Ops
  readonly parameters: Tensors
  readonly training: boolean
  /** [B, F] 0 or 1 / (1 - rate), an input of the step. Absent: nothing is dropped. */
  readonly dropout?: Tensor
  /** Batch moments of a training pass by the names of their running counterparts. Kept tensors. */
  readonly moments: Record<string, Tensor>
}

/** Convolution without bias, batch norm, and ReLU if asked. */
export interface ConvUnit {
  readonly name: string
  readonly inC: number
  readonly outC: number
  readonly size: number
  readonly stride: number
  readonly relu: boolean
}

const EPSILON = 1e-5

/** He et al. 2015 (arXiv 1502.01852): normal with variance 2 / fan-in, for ReLU nets. */
export const convUnitParameters = (unit: ConvUnit): readonly Parameter[] => {
  const { name, inC, outC, size } = unit
  const std = Math.sqrt(2 / (size * size * inC))
  return [
    { name: `${name}/kernel`, shape: [size, size, inC, outC], kind: 'kernel', init: { std } },
    { name: `${name}/gamma`, shape: [outC], kind: 'offset', init: { value: 1 } },
    { name: `${name}/beta`, shape: [outC], kind: 'offset', init: { value: 0 } },
    { name: `${name}/mean`, shape: [outC], kind: 'running', init: { value: 0 } },
    { name: `${name}/variance`, shape: [outC], kind: 'running', init: { value: 1 } },
  ]
}

export function parameterOf<T extends Tensor>(scope: Scope, name: string): T {
  const tensor = scope.parameters[name]
  if (tensor === undefined) throw new Error(`the model has no array "${name}"`)
  return tensor as T
}

/** @param x [B, H, W, inC] @returns [B, ceil(H / stride), ceil(W / stride), outC] */
export function applyConvUnit(scope: Scope, unit: ConvUnit, x: Tensor4D): Tensor4D {
  const { tf, normalise } = scope.ops
  const { name, stride, relu } = unit
  const get = <T extends Tensor>(part: string): T => parameterOf<T>(scope, `${name}/${part}`)
  const kernel = get<Tensor4D>('kernel')
  const gamma = get<Tensor1D>('gamma')
  const beta = get<Tensor1D>('beta')
  if (scope.training) {
    const convolved = tf.conv2d(x, kernel, stride, 'same')
    const { y, mean, variance } = normalise(convolved, gamma, beta, { epsilon: EPSILON, relu })
    scope.moments[`${name}/mean`] = mean
    scope.moments[`${name}/variance`] = variance
    return y
  }
  // Fixed moments are one factor and one offset a channel: they go into the convolution.
  const scale = tf.mul<Tensor1D>(gamma, tf.rsqrt(tf.add(get<Tensor1D>('variance'), EPSILON)))
  return tf.fused.conv2d({
    x,
    filter: tf.mul(kernel, scale),
    strides: stride,
    pad: 'same',
    bias: tf.sub<Tensor1D>(beta, tf.mul(get<Tensor1D>('mean'), scale)),
    activation: relu ? 'relu' : 'linear',
  })
}

export const headParameters = (features: number, labels: number): readonly Parameter[] => [
  {
    name: 'head/kernel',
    shape: [features, labels],
    kind: 'kernel',
    init: { std: Math.sqrt(1 / features) },
  },
  { name: 'head/bias', shape: [labels], kind: 'offset', init: { value: 0 } },
]

/** Mean over space, dropout, one dense layer. @param x [B, h, w, F] @returns [B, L] */
export function applyHead(scope: Scope, x: Tensor4D): Tensor2D {
  const { tf } = scope.ops
  const [, h, w] = x.shape
  // Not tf.mean: it has no gradient of its own name when the step is traced.
  const pooled = tf.div<Tensor2D>(tf.sum(x, [1, 2]), h * w)
  const features = scope.dropout === undefined ? pooled : tf.mul<Tensor2D>(pooled, scope.dropout)
  const dense = tf.matMul(features, parameterOf<Tensor2D>(scope, 'head/kernel'))
  return tf.add(dense, parameterOf<Tensor1D>(scope, 'head/bias'))
}

/** Starting values: each array's depends on (seed, its name) and on nothing else. */
export function initialise(parameters: readonly Parameter[], seed: number): HostTensors {
  const start = ({ name, shape, init }: Parameter): HostTensor => {
    const size = shape.reduce((a, b) => a * b, 1)
    if ('value' in init) return { shape, data: new Float32Array(size).fill(init.value) }
    const random = createRandom(seedOf(seed, 'init', name))
    return { shape, data: Float32Array.from({ length: size }, () => random.normal() * init.std) }
  }
  return Object.fromEntries(parameters.map((parameter) => [parameter.name, start(parameter)]))
}
