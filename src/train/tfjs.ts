import { createRequire } from 'node:module'
import type { Tf } from './types.ts'

const require = createRequire(import.meta.url)

/**
 * tfjs-core with all its gradients. `@tensorflow/tfjs` is loaded, not tfjs-core, because tfjs-core alone
 * registers no gradients under CommonJS, and its ES modules import without extensions, which Node refuses.
 */
export function loadTfjs(): Tf {
  const tf = require('@tensorflow/tfjs') as Tf
  // Without it the cpu backend prints an advertisement of tfjs-node.
  tf.enableProdMode()
  return tf
}

interface WasmBackendModule {
  setWasmPaths(folder: string): void
}

/** Loads the wasm backend beside the same tfjs-core, told where its .wasm files are. */
export function loadWasmBackend(): void {
  const wasm = require('@tensorflow/tfjs-backend-wasm') as WasmBackendModule
  const manifest = require.resolve('@tensorflow/tfjs-backend-wasm/package.json')
  wasm.setWasmPaths(manifest.replace(/package\.json$/, 'dist/'))
}

/** Loads a user's own TensorFlow binding from the node_modules of `folder`. @throws what Node's loader throws */
export function loadTfjsNode(folder: string): Tf {
  const local = createRequire(`${folder}/package.json`)
  let entry: string
  try {
    entry = local.resolve('@tensorflow/tfjs-node-gpu')
  } catch {
    entry = local.resolve('@tensorflow/tfjs-node')
  }
  return local(entry) as Tf
}
