import { CxvError } from '../base/index.ts'
import type { TrainConfig } from '../format/types.ts'
import type { Engine } from '../train/index.ts'
import { findEngines } from './engine-find.ts'
import type { CommandContext } from './types.ts'

export interface ChosenEngine {
  readonly engine: Engine
  readonly reason: string
}

/**
 * Opens the engine asked for, or the best this machine has, and says which and why in one line.
 * @throws CxvError ENGINE_MISSING, ENGINE_FAILED
 */
export async function chooseEngine(
  ctx: CommandContext,
  requested: TrainConfig['engine'],
): Promise<ChosenEngine> {
  const { explainEngineChoice, openEngine } = await import('../train/index.ts')
  const [found] = findEngines(ctx.env)
  const available =
    found === undefined
      ? {}
      : {
          tensorflow: {
            version: found.version,
            device: found.cuda ? ('GPU' as const) : ('CPU' as const),
          },
        }
  const { name, reason } = explainEngineChoice(requested, available)
  try {
    const engine = await openEngine(
      name === 'tensorflow' && found !== undefined
        ? { name, tensorflowModule: found.module }
        : { name },
    )
    ctx.emit({ type: 'note', message: reason })
    return { engine, reason }
  } catch (error) {
    if (requested !== 'auto' || name === 'wasm') throw engineFailed(name, error)
    const fallback = `engine: wasm (tensorflow is set up but does not start: ${firstLine(error)}; \`cxv doctor\`)`
    ctx.emit({ type: 'warn', code: 'ENGINE_FAILED', message: fallback })
    return { engine: await openEngine({ name: 'wasm' }), reason: fallback }
  }
}

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''

const engineFailed = (name: string, cause: unknown): CxvError =>
  cause instanceof CxvError
    ? cause
    : new CxvError('ENGINE_FAILED', `the ${name} engine does not start: ${firstLine(cause)}`, {
        hint: '`cxv doctor` says what this machine lacks',
        cause,
      })
