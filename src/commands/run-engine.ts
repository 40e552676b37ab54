import { CxvError, plural } from '../base/index.ts'
import type { TrainConfig } from '../format/types.ts'
import type { RunRecord } from '../format/index.ts'
import { hardwareFacts } from '../io/index.ts'
import type { Engine } from '../train/index.ts'
import { findEngines } from './engine-find.ts'
import type { CommandContext } from './types.ts'

export interface ChosenEngine {
  readonly engine: Engine
  readonly reason: string
}

/**
 * Opens the engine asked for, or the best this machine has, and says which and why in one line.
 * @param threads of one operator, where the engine has more than one; absent: one a core
 * @throws CxvError ENGINE_MISSING, ENGINE_FAILED
 */
export async function chooseEngine(
  ctx: CommandContext,
  requested: TrainConfig['engine'],
  threads = threadsHere(ctx),
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
        ? { name, tensorflowModule: found.module, threads }
        : { name },
    )
    // What was set up for a GPU runs on the CPU where there is none: only the open engine knows.
    const told =
      name === 'tensorflow'
        ? explainEngineChoice(requested, {
            tensorflow: { version: found?.version ?? '', device: engine.describe.device },
          }).reason
        : reason
    ctx.emit({ type: 'note', message: told })
    return { engine, reason: told }
  } catch (error) {
    if (requested !== 'auto' || name === 'wasm') throw engineFailed(name, error)
    const fallback = `engine: wasm (tensorflow is set up but does not start: ${firstLine(error)}; \`cxv doctor\`)`
    ctx.emit({ type: 'warn', code: 'ENGINE_FAILED', message: fallback })
    return { engine: await openEngine({ name: 'wasm' }), reason: fallback }
  }
}

/** As many as TensorFlow would take by itself: told to it, so that the record can say how many. */
function threadsHere({ env }: CommandContext): number {
  const asked = Number(env['TF_NUM_INTRAOP_THREADS'])
  return Number.isSafeInteger(asked) && asked > 0 ? asked : hardwareFacts().cores
}

/** What the run record keeps of an engine. */
export function engineFacts({ engine, reason }: ChosenEngine): RunRecord['engine'] {
  const { text, threads } = engine.describe
  return {
    name: engine.name,
    version: text,
    reason,
    ...(threads === undefined ? {} : { threads }),
  }
}

const engineText = ({ version, threads }: RunRecord['engine']): string =>
  threads === undefined ? version : `${version}, ${plural(threads, 'thread')}`

/** Warns when a resumed run computes otherwise than it began. @returns what with, if so */
export function warnOfOtherEngine(
  ctx: CommandContext,
  began: RunRecord['engine'],
  now: RunRecord['engine'],
): string | undefined {
  const same = began.version === now.version && began.threads === now.threads
  if (same) return undefined
  ctx.emit({
    type: 'warn',
    code: 'RUN_MISMATCH',
    message: `the run began on ${engineText(began)} and goes on with ${engineText(now)}: its end will not be, to the byte, that of a run which never stopped`,
  })
  return engineText(now)
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
