import { fileURLToPath } from 'node:url'
import { type Context, CxvError, isRecord, parseJson } from '../base/index.ts'
import { runProgram } from '../io/index.ts'

const PROGRAM = fileURLToPath(new URL('./engine-check.worker.js', import.meta.url))
const TIME_LIMIT_MS = 180_000

export interface EngineCheck {
  /** The version the library itself tells. */
  readonly tensorflow: string
  readonly device: 'cpu' | 'gpu'
  readonly firstLoss: number
  readonly lastLoss: number
}

/** For the engine's processes: take GPU memory as it is needed, say only what is wrong. */
export const ENGINE_ENVIRONMENT = {
  TF_FORCE_GPU_ALLOW_GROWTH: 'true',
  TF_CPP_MIN_LOG_LEVEL: '2',
  TF_ENABLE_ONEDNN_OPTS: '1',
} as const

/**
 * Trains a small convolution for 20 steps in a process of its own.
 * @param module folder of the npm package
 * @throws {ENGINE_FAILED} when it does not load, or does not learn
 */
export async function checkEngine(
  ctx: Context,
  module: string,
  onOutput?: (text: string) => void,
): Promise<EngineCheck> {
  const signal = AbortSignal.any([ctx.signal, AbortSignal.timeout(TIME_LIMIT_MS)])
  let output
  try {
    output = await runProgram(process.execPath, [PROGRAM, module], {
      signal,
      env: ENGINE_ENVIRONMENT,
      ...(onOutput === undefined ? {} : { onOutput }),
    })
  } catch (error) {
    ctx.signal.throwIfAborted()
    throw failed(module, 'its check did not end', '', error)
  }
  ctx.signal.throwIfAborted()
  const line = output.stdout.split('\n').find((text) => text.includes('"cxvEngineCheck"'))
  if (output.status !== 0 || line === undefined) {
    throw failed(module, `its check ended with status ${output.status}`, output.stderr)
  }
  const told: unknown = parseJson(line)
  if (!isRecord(told) || !Array.isArray(told['losses'])) throw failed(module, 'no figures', line)
  // What is not a number comes as null: a loss that diverged is no sign of learning.
  const losses = told['losses'].map((v: unknown) => (typeof v === 'number' ? v : Number.NaN))
  const [firstLoss = Number.NaN, lastLoss = Number.NaN] = [losses[0], losses.at(-1)]
  if (!(lastLoss < firstLoss / 2) || !(Number(told['moved']) > 0)) {
    throw failed(module, `the loss went from ${firstLoss} to ${lastLoss}`, line)
  }
  return {
    tensorflow: typeof told['tensorflow'] === 'string' ? told['tensorflow'] : 'unknown',
    device: told['gpu'] === true ? 'gpu' : 'cpu',
    firstLoss,
    lastLoss,
  }
}

function failed(module: string, why: string, detail: string, cause?: unknown): CxvError {
  const last = detail
    .trim()
    .split('\n')
    .filter((text) => text !== '')
    .slice(-8)
    .join('\n')
  return new CxvError(
    'ENGINE_FAILED',
    `the engine in ${module} does not train: ${why}${last === '' ? '' : `\n${last}`}`,
    {
      hint: '`cxv engine add tensorflow --force` sets it up again; `engine: wasm` needs no set-up',
      data: { module },
      cause,
    },
  )
}
