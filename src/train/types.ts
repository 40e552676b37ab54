import type * as tfjs from '@tensorflow/tfjs-core'
import type { Task } from '../dataset/types.ts'

/** The ops of tfjs-core, taken from the engine: another engine's copy holds other kernels. */
export type Tf = typeof tfjs
export type Tensor = tfjs.Tensor
export type Tensor1D = tfjs.Tensor1D
export type Tensor2D = tfjs.Tensor2D
export type Tensor4D = tfjs.Tensor4D
export type Tensors = Readonly<Record<string, Tensor>>

export type EngineName = 'wasm' | 'cpu' | 'tensorflow'

/** Numbers outside an engine. */
export interface HostTensor {
  readonly shape: readonly number[]
  /** Row-major. Its length is the product of the shape. */
  readonly data: Float32Array
}
export type HostTensors = Readonly<Record<string, HostTensor>>

/** Batch normalisation of a training batch. */
export interface Normalised {
  /** [B, H, W, C] */
  readonly y: Tensor4D
  /** [C] Kept: the caller disposes of it. */
  readonly mean: Tensor1D
  /** [C] Unbiased (n - 1), for the running variance. Kept: the caller disposes of it. */
  readonly variance: Tensor1D
}

/** What a step computes with: tfjs-core's ops, and those that an engine has better ones for. */
export interface Ops {
  readonly tf: Tf
  /**
   * Normalises over batch and space by the batch's own moments (Ioffe and Szegedy 2015), then ReLU if
   * asked. Differentiable in x, gamma and beta; the moments carry no gradient.
   * @param x [B, H, W, C]
   */
  normalise(
    x: Tensor4D,
    gamma: Tensor1D,
    beta: Tensor1D,
    options: { readonly epsilon: number; readonly relu: boolean },
  ): Normalised
  /** max(x, 0) with the engine's own gradient. */
  relu(x: Tensor4D): Tensor4D
}

export interface StepResult {
  /** The state after the step: the same names and shapes as before it. */
  readonly state: Tensors
  readonly out: Tensors
}

/**
 * A pure function in tfjs-core ops: no layers object, no module state, no randomness of its own. It may
 * be run eagerly, or traced once for each set of shapes and compiled.
 */
export type Step = (ops: Ops, state: Tensors, feed: Tensors) => StepResult

/** A step with its state on the device. */
export interface CompiledStep {
  /**
   * Runs the step once and replaces the state.
   * @returns what the step put out
   */
  run(feed: HostTensors): Promise<HostTensors>
  /** Copies of the state, or of the part whose names are wanted. */
  read(wanted?: (name: string) => boolean): Promise<HostTensors>
  /** Replaces the state. @throws Error when names or shapes differ from those at compilation. */
  write(state: HostTensors): Promise<void>
  dispose(): void
}

export interface EngineDescription {
  readonly engine: EngineName
  /** "TensorFlow 2.20.0", "tfjs 4.22.0 wasm" */
  readonly version: string
  readonly device: 'CPU' | 'GPU'
  /** wasm only: whether the machine runs its 128-bit vector code. */
  readonly simd?: boolean
  readonly threads?: number
  /** "TensorFlow 2.20.0 on CPU" */
  readonly text: string
}

/** Where steps run. One step at a time: engines share tfjs-core's one global engine. */
export interface Engine extends AsyncDisposable {
  readonly name: EngineName
  readonly ops: Ops
  readonly describe: EngineDescription
  compile(step: Step, state: HostTensors): CompiledStep
  /** Tensors alive on the engine, for leak checks. */
  tensorCount(): number
  close(): Promise<void>
}

export interface EngineChoice {
  readonly name: EngineName
  /** `tensorflow` only: the folder whose node_modules holds @tensorflow/tfjs-node or tfjs-node-gpu. */
  readonly tensorflowModule?: string
  /** `tensorflow` only: threads of one operator; absent: all cores. */
  readonly threads?: number
}

export type Arch = 'small_cnn' | 'resnet18'

/** What training needs of train.yaml: the parts of `TrainConfig` with the same names. */
export interface TrainSettings {
  readonly task: Task
  readonly model: { readonly arch: Arch; readonly dropout: number }
  readonly loss: {
    readonly name: 'bce' | 'weighted_bce' | 'categorical_ce'
    readonly posWeight: 'auto' | number | readonly number[]
    readonly labelSmoothing: number
  }
  readonly optimizer: {
    readonly name: 'adam' | 'sgd'
    readonly lr: number
    readonly weightDecay: number
    readonly momentum: number
    readonly clipNorm: number
  }
  readonly schedule: {
    readonly name: 'constant' | 'cosine'
    readonly warmupEpochs: number
    readonly minLr: number
  }
  readonly train: { readonly epochs: number; readonly batch: number }
  readonly earlyStop: {
    readonly monitor: 'val/loss' | 'val/auroc_macro' | 'none'
    readonly patience: number
    readonly minDelta: number
  }
  readonly checkpoint: { readonly everyEpochs: number }
  readonly seed: number
  readonly evaluate: { readonly bootstrap: number }
}

/** One epoch's figures: a function of pin, settings and engine; no times. */
export interface HistoryRow {
  /** Counted from 1. */
  readonly epoch: number
  /** Steps done since the start. */
  readonly step: number
  /** `lr`, `train/loss`, `val/loss`, `val/auroc_macro`. Those not defined are absent. */
  readonly metrics: Readonly<Record<string, number>>
  /** The best epoch so far. */
  readonly best: boolean
}

/** A history row as it is logged, with times. After a resume, rows of unsaved epochs come again. */
export interface LogRow extends HistoryRow {
  readonly seconds: number
  readonly imagesPerSecond: number
}

/** What training needs done outside. */
export interface TrainPorts {
  /** Durable when it resolves. Names sort by time: `epoch-00003-step-000042`. */
  saveCheckpoint(name: string, bytes: Uint8Array): Promise<void>
  /** The checkpoints that are kept, newest first, when the run resumes. */
  loadCheckpoints(): AsyncIterable<Uint8Array>
  log(row: LogRow): Promise<void>
}
