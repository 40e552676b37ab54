import { createRequire } from 'node:module'
import { CxvError } from '../base/index.ts'
import type { OpenedBackend } from './eager.ts'
import { loadTfjsNode } from './tfjs.ts'
import type { EngineChoice, Ops, Tensor, Tensor1D, Tensor4D, Tf } from './types.ts'

/** What of tfjs-node's backend is used beyond tfjs-core's own port. */
interface NodeBackend {
  readonly isUsingGpuDevice: boolean
  readonly binding: Readonly<Record<string, unknown>>
  executeSingleOutput(name: string, attrs: OpAttr[], inputs: Tensor[]): Tensor
  executeMultipleOutputs(name: string, attrs: OpAttr[], inputs: Tensor[], outputs: number): Tensor[]
}
interface OpAttr {
  readonly name: string
  readonly type: unknown
  readonly value: unknown
}

/**
 * Read by TensorFlow's own code when it is loaded: fewer lines on stderr, a GPU shared with others, and
 * kernels whose sums do not depend on timing.
 */
function prepareEnvironment(threads: number | undefined): void {
  const defaults: Record<string, string> = {
    TF_CPP_MIN_LOG_LEVEL: '2',
    TF_FORCE_GPU_ALLOW_GROWTH: 'true',
    TF_DETERMINISTIC_OPS: '1',
    TF_ENABLE_ONEDNN_OPTS: '1',
  }
  for (const [name, value] of Object.entries(defaults)) process.env[name] ??= value
  // Not a default: sums are cut among the threads, so a resumed run needs those that it began with.
  if (threads !== undefined) process.env['TF_NUM_INTRAOP_THREADS'] = String(threads)
}

/** tfjs-node 4.22 calls two functions that Node 23 removed from `util` (tensorflow/tfjs#8609). */
export function restoreUtil(): void {
  const util = createRequire(import.meta.url)('node:util') as Record<string, unknown>
  util['isNullOrUndefined'] ??= (value: unknown) => value === null || value === undefined
  util['isArray'] ??= (value: unknown) => Array.isArray(value)
}

/** TensorFlow through the user's own tfjs-node: native kernels, on the GPU where the binding has one. */
export async function openTensorflow(choice: EngineChoice): Promise<OpenedBackend> {
  const folder = choice.tensorflowModule
  const hint = 'cxv engine add tensorflow'
  if (folder === undefined) {
    throw new CxvError('ENGINE_MISSING', 'the tensorflow engine is not set up', { hint })
  }
  prepareEnvironment(choice.threads)
  restoreUtil()
  let tf: Tf
  try {
    tf = loadTfjsNode(folder)
    await tf.setBackend('tensorflow')
  } catch (error) {
    const code = (error as { code?: unknown }).code
    if (code === 'MODULE_NOT_FOUND') {
      const message = `no @tensorflow/tfjs-node in ${folder}`
      throw new CxvError('ENGINE_MISSING', message, { hint, cause: error })
    }
    const message = `TensorFlow did not load from ${folder}: ${(error as Error).message}`
    throw new CxvError('ENGINE_FAILED', message, { hint: 'cxv doctor', cause: error })
  }
  const backend = tf.backend() as unknown as NodeBackend
  const device = backend.isUsingGpuDevice ? 'GPU' : 'CPU'
  const version = `TensorFlow ${String(backend.binding['TF_Version'] ?? 'unknown')}`
  return {
    ops: { tf, normalise: fusedNormalise(tf, backend), relu: nativeRelu(tf, backend) },
    backend: 'tensorflow',
    describe: {
      engine: 'tensorflow',
      version,
      device,
      ...(choice.threads === undefined ? {} : { threads: choice.threads }),
      text: `${version} on ${device}`,
    },
  }
}

const typeAttr = (name: string, { binding }: NodeBackend): OpAttr => ({
  name,
  type: binding['TF_ATTR_TYPE'],
  value: binding['TF_FLOAT'],
})

/**
 * ReLU's gradient as one kernel. tfjs-node composes it of six (Step, Select, IsNan, ...), which took 29 %
 * of a step of small_cnn.
 */
const reluGradient = (backend: NodeBackend, dy: Tensor, y: Tensor): Tensor =>
  backend.executeSingleOutput('ReluGrad', [typeAttr('T', backend)], [dy, y])

function nativeRelu(tf: Tf, backend: NodeBackend): Ops['relu'] {
  const apply = tf.customGrad((...args) => {
    const [x, save] = args as [Tensor4D, (t: Tensor[]) => void]
    const y = tf.relu(x)
    save([y])
    return {
      value: y,
      gradFunc: (dy: Tensor, saved: Tensor[]) => reluGradient(backend, dy, saved[0]!),
    }
  })
  return (x) => apply(x) as Tensor4D
}

/** Batch normalisation by FusedBatchNormV3 and FusedBatchNormGradV3: one kernel each way. */
function fusedNormalise(tf: Tf, backend: NodeBackend): Ops['normalise'] {
  const { binding } = backend
  const attrs = (epsilon: number): OpAttr[] => [
    typeAttr('T', backend),
    typeAttr('U', backend),
    { name: 'epsilon', type: binding['TF_ATTR_FLOAT'], value: epsilon },
    { name: 'data_format', type: binding['TF_ATTR_STRING'], value: 'NHWC' },
    { name: 'is_training', type: binding['TF_ATTR_BOOL'], value: true },
  ]
  const momentum = { name: 'exponential_avg_factor', type: binding['TF_ATTR_FLOAT'], value: 1 }
  const forward = (inputs: Tensor[], epsilon: number): Tensor[] => {
    const none = tf.tensor1d([], 'float32')
    const all = [...inputs, none, none]
    return backend.executeMultipleOutputs('FusedBatchNormV3', [...attrs(epsilon), momentum], all, 6)
  }
  const backward = (dy: Tensor, saved: Tensor[], epsilon: number): Tensor[] =>
    backend
      .executeMultipleOutputs('FusedBatchNormGradV3', attrs(epsilon), [dy, ...saved], 5)
      .slice(0, 3)
  return (x, gamma, beta, { epsilon, relu }) => {
    const moments: Tensor1D[] = []
    const apply = tf.customGrad((...args) => {
      const [xs, g, b, save] = args as [Tensor, Tensor, Tensor, (t: Tensor[]) => void]
      const [y, mean, variance, ...reserved] = forward([xs, g, b], epsilon) as [
        Tensor4D,
        Tensor1D,
        Tensor1D,
        ...Tensor[],
      ]
      moments.push(tf.keep(mean), tf.keep(variance))
      const value = relu ? tf.relu(y) : y
      save([xs, g, ...reserved, ...(relu ? [value] : [])])
      return {
        value,
        gradFunc: (dy: Tensor, saved: Tensor[]) => {
          const masked = relu ? reluGradient(backend, dy, saved[5]!) : dy
          return backward(masked, saved.slice(0, 5), epsilon)
        },
      }
    })
    const y = apply(x, gamma, beta) as Tensor4D
    const [mean, variance] = moments as [Tensor1D, Tensor1D]
    return { y, mean, variance }
  }
}
