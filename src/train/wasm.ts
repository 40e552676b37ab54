import { CxvError } from '../base/index.ts'
import type { OpenedBackend } from './eager.ts'
import { composedNormalise, plainPasses } from './normalise.ts'
import { loadTfjs, loadWasmBackend } from './tfjs.ts'
import { registerWasmKernels } from './wasm-kernels.ts'

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
    ops: { tf, normalise: composedNormalise(tf, plainPasses(tf)) },
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
