import { createRandom, type Random } from '../../src/base/index.ts'
import { type Ended, type Machine, startProgram, CXV } from './cli.ts'

/** Chooses when to kill: half the kills at a random time of a verb's life, half at a random durable step. */
export interface Killer {
  readonly seed: number
  /** Random numbers for what else a test draws. */
  readonly random: Random
  /** Runs `cxv ARGS`, killed with SIGKILL on its way. It may end first: then `signal` is null. */
  kill(who: Machine, cwd: string, ...args: readonly string[]): Promise<Ended>
  /** Runs it to its end, and learns how long it takes. */
  time(who: Machine, cwd: string, ...args: readonly string[]): Promise<Ended>
  /** Kills that came in time, by verb. */
  readonly kills: Readonly<Record<string, number>>
}

/** @param firstSteps durable steps that a verb is believed to have, until one ends before its kill */
export function createKiller(
  seed = Number(process.env['CXV_TEST_SEED'] ?? Date.now() % 1_000_000),
  firstSteps = 24,
): Killer {
  const random = createRandom(seed)
  const kills: Record<string, number> = {}
  const steps = new Map<string, number>()
  const durations = new Map<string, number>()
  let turn = 0

  async function atStep(who: Machine, cwd: string, args: readonly string[]): Promise<Ended> {
    const verb = args[0] ?? ''
    const known = steps.get(verb) ?? firstSteps
    const env = { ...who.env, CXV_TEST_KILL_AT: String(1 + random.int(known)) }
    const ended = await startProgram(process.execPath, [CXV, ...args], { cwd, env }).ended
    if (ended.signal === null) steps.set(verb, Math.max(2, Math.floor(known * 0.7)))
    return ended
  }

  async function atTime(who: Machine, cwd: string, args: readonly string[]): Promise<Ended> {
    // Not in its first fifth, in which node starts.
    const share = 0.2 + 0.8 * random.next()
    const started = who.start(cwd, ...args)
    const timer = setTimeout(started.kill, (durations.get(args[0] ?? '') ?? 500) * share)
    try {
      return await started.ended
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    seed,
    random,
    kills,
    async kill(who, cwd, ...args) {
      const ended = await (turn++ % 2 === 0 ? atTime : atStep)(who, cwd, args)
      const verb = args[0] ?? ''
      kills[verb] = (kills[verb] ?? 0) + (ended.signal === 'SIGKILL' ? 1 : 0)
      return ended
    },
    async time(who, cwd, ...args) {
      const start = performance.now()
      const ended = await who.cxv(cwd, ...args)
      durations.set(args[0] ?? '', performance.now() - start)
      return ended
    },
  }
}
