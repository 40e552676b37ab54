import { createRandom, seedOf } from '../base/index.ts'
import type { Model, Parameter, Scope } from './layers.ts'
import type { LossFunction } from './losses.ts'
import { applyOptimizer, trainedOf } from './optimizer.ts'
import { resnet18 } from './resnet18.ts'
import { smallCnn } from './small-cnn.ts'
import type { HostTensor, Ops, Step, Tensor, Tensor4D, Tensors, TrainSettings } from './types.ts'

/** Share of the running moments that a step replaces (PyTorch's momentum of batch norm). */
const RUNNING_SHARE = 0.1

/** @param xShape [H, W, C] of the images @param labels how many */
export function createModel(
  arch: TrainSettings['model']['arch'],
  xShape: readonly [number, number, number],
  labels: number,
): Model {
  switch (arch) {
    case 'small_cnn':
      return smallCnn(xShape[2], labels)
    case 'resnet18':
      return resnet18(xShape, labels)
  }
}

/**
 * The training step. State: the model's arrays and the optimizer's. Feed: x [B, H, W, C], y and weight
 * [B, L], dropout [B, F] (when the model drops), lr, mScale and vScale. Out: loss, gradientNorm.
 */
export function createTrainStep(
  model: Model,
  loss: LossFunction,
  optimizer: TrainSettings['optimizer'],
): Step {
  const trained = trainedOf(model.parameters)
  return (ops, state, feed) => {
    const { tf } = ops
    const moments: Record<string, Tensor> = {}
    const forward = (...values: Tensor[]): Tensor => {
      const scope: Scope = {
        ops,
        parameters: {
          ...state,
          ...Object.fromEntries(trained.map(({ name }, i) => [name, values[i]!])),
        },
        training: true,
        moments,
        ...(feed['dropout'] === undefined ? {} : { dropout: feed['dropout'] }),
      }
      const logits = model.apply(scope, feed['x'] as Tensor4D)
      return loss(ops, logits, feed['y']!, feed['weight']!)
    }
    const { value, grads } = tf.valueAndGrads(forward)(trained.map(({ name }) => state[name]!))
    const update = applyOptimizer(ops, optimizer, trained, { state, feed, gradients: grads })
    const running = moveRunning(ops, model.parameters, state, moments)
    tf.dispose(moments)
    return {
      state: { ...update.state, ...running },
      out: { loss: value, gradientNorm: update.gradientNorm },
    }
  }
}

function moveRunning(
  { tf }: Ops,
  parameters: readonly Parameter[],
  state: Tensors,
  moments: Tensors,
): Tensors {
  const running = parameters.filter(({ kind }) => kind === 'running')
  return Object.fromEntries(
    running.map(({ name }) => {
      const kept = tf.mul(state[name]!, 1 - RUNNING_SHARE)
      return [name, tf.add(kept, tf.mul(moments[name]!, RUNNING_SHARE))]
    }),
  )
}

/** The evaluation step: running moments, no dropout. Feed: x. Out: logits [B, L]. The state stays. */
export function createPredictStep(model: Model): Step {
  return (ops, state, feed) => ({
    state,
    out: {
      logits: model.apply(
        { ops, parameters: state, training: false, moments: {} },
        feed['x'] as Tensor4D,
      ),
    },
  })
}

/** Dropout's mask of one step: 0 with probability `rate`, else 1 / (1 - rate). A function of (seed, step). */
export function dropoutMask(
  rate: number,
  shape: readonly [number, number],
  { seed, step }: { readonly seed: number; readonly step: number },
): HostTensor {
  const random = createRandom(seedOf(seed, 'dropout', step))
  const keep = 1 / (1 - rate)
  const data = Float32Array.from({ length: shape[0] * shape[1] }, () =>
    random.next() < rate ? 0 : keep,
  )
  return { shape, data }
}
