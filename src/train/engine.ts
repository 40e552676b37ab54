import { CxvError } from '../base/index.ts'
import { compileEager, type OpenedBackend } from './eager.ts'
import { composedOps, plainPasses } from './normalise.ts'
import { openTensorflow } from './tensorflow.ts'
import { loadTfjs } from './tfjs.ts'
import type { Engine, EngineChoice, Tf } from './types.ts'
import { openWasm } from './wasm.ts'

async function openCpu(): Promise<OpenedBackend> {
  const tf = loadTfjs()
  await tf.setBackend('cpu')
  const version = `tfjs ${tf.version_core} cpu`
  return {
    ops: composedOps(tf, plainPasses(tf)),
    backend: 'cpu',
    describe: {
      engine: 'cpu',
      version,
      device: 'CPU',
      threads: 1,
      text: `${version} (plain JavaScript)`,
    },
  }
}

function open(choice: EngineChoice): Promise<OpenedBackend> {
  switch (choice.name) {
    case 'cpu':
      return openCpu()
    case 'wasm':
      return openWasm()
    case 'tensorflow':
      return openTensorflow(choice)
  }
}

/**
 * Opens an engine. Nothing of tfjs is loaded before.
 * @throws {ENGINE_MISSING} its packages are not installed
 * @throws {ENGINE_FAILED} they are, and do not start
 */
export async function openEngine(choice: EngineChoice): Promise<Engine> {
  const { ops, backend, describe } = await open(choice)
  const { tf } = ops
  const activate = (): void => {
    if (tf.getBackend() !== backend) useBackend(tf, backend)
  }
  activate()
  const close = (): Promise<void> => Promise.resolve()
  return {
    name: choice.name,
    ops,
    describe,
    compile: (step, state) => compileEager({ ops, activate }, step, state),
    tensorCount: () => tf.memory().numTensors,
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** setBackend is asynchronous only for a backend that was not started yet. */
function useBackend(tf: Tf, backend: string): void {
  void tf.setBackend(backend)
  if (tf.getBackend() !== backend) {
    throw new CxvError('ENGINE_FAILED', `the ${backend} backend of tfjs is not available`)
  }
}
