import { CxvError } from '../base/index.ts'
import type { EngineName } from './types.ts'

/** What the caller found on this machine. `wasm` and `cpu` come with cxv. */
export interface AvailableEngines {
  readonly tensorflow?: { readonly version: string; readonly device: 'CPU' | 'GPU' }
}

/** Images per second of tensorflow over wasm, small_cnn at 64 px on two cores (docs/decisions/0012). */
const TENSORFLOW_GAIN = 4

/**
 * Chooses an engine and says why, in one line. `auto` is tensorflow where it is set up, else wasm.
 * @throws {ENGINE_MISSING} tensorflow is asked for and not set up
 */
export function explainEngineChoice(
  requested: EngineName | 'auto',
  available: AvailableEngines,
): { readonly name: EngineName; readonly reason: string } {
  const { tensorflow } = available
  const native =
    tensorflow === undefined ? undefined : `TensorFlow ${tensorflow.version}, ${tensorflow.device}`
  switch (requested) {
    case 'auto':
      return native === undefined
        ? {
            name: 'wasm',
            reason: `engine: wasm (tensorflow is not set up; \`cxv engine add tensorflow\` trains about ${TENSORFLOW_GAIN} times faster)`,
          }
        : { name: 'tensorflow', reason: `engine: tensorflow (installed, ${native})` }
    case 'tensorflow':
      if (native === undefined) {
        throw new CxvError('ENGINE_MISSING', 'the tensorflow engine is not set up', {
          hint: 'cxv engine add tensorflow',
        })
      }
      return { name: 'tensorflow', reason: `engine: tensorflow (asked for, ${native})` }
    case 'wasm':
      return { name: 'wasm', reason: 'engine: wasm (asked for)' }
    case 'cpu':
      return { name: 'cpu', reason: 'engine: cpu (asked for; plain JavaScript, for checks only)' }
  }
}
