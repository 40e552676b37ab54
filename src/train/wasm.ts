import { CxvError } from '../base/index.ts'
import type { OpenedBackend } from './eager.ts'
import { composedOps, type ChannelPasses } from './normalise.ts'
import { loadTfjs, loadWasmBackend } from './tfjs.ts'
import type { Tensor2D, Tensor4D, Tf } from './types.ts'
import { registerWasmKernels } from './wasm-kernels.ts'

/**
 * Per-channel passes by XNNPACK: average pooling over a whole image sums 15 times faster than Sum over
 * [0, 1, 2], which transposes first; a 1x1 depthwise convolution scales, shifts and clips in one pass.
 */
const wasmPasses = (tf: Tf): ChannelPasses => ({
  sum(x) {
    const [n, h, w, c] = x.shape
    const means = tf.reshape(tf.avgPool(x, [h, w], 1, 'valid'), [n, c]) as Tensor2D
    return tf.mul(tf.sum(means, 0), h * w)
  },
  affine: (x, scale, shift, relu) =>
    tf.engine().runKernel(
      'FusedDepthwiseConv2D',
      { x, filter: tf.reshape(scale, [1, 1, scale.size, 1]), bias: shift },
      {
        strides: 1,
        pad: 'valid',
        dataFormat: 'NHWC',
        dilations: 1,
        activation: relu ? 'relu' : 'linear',
      },
    ) as Tensor4D,
})

/** tfjs's wasm backend with the gradient kernels it lacks. One thread: tfjs has no wasm threads in Node. */
export async function openWasm(): Promise<OpenedBackend> {
  const tf = loadTfjs()
  loadWasmBackend()
  registerWasmKernels(tf)
  if (!(await tf.setBackend('wasm'))) {
    throw new CxvError('ENGINE_FAILED', 'the wasm backend of tfjs did not start')
  }
  const simd = Boolean(await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT'))
  const version = `tfjs ${tf.version_core} wasm`
  return {
    ops: composedOps(tf, wasmPasses(tf)),
    backend: 'wasm',
    describe: {
      engine: 'wasm',
      version,
      device: 'CPU',
      simd,
      threads: 1,
      text: `${version} on CPU (${simd ? 'SIMD' : 'no SIMD: slow'}, 1 thread)`,
    },
  }
}
