import { type Context, CxvError } from '../base/index.ts'
import { makeFolder, namesIn, pathExists } from '../io/index.ts'
import { openIndex } from './level-index.ts'
import { matchPacks } from './match-packs.ts'
import { packsFolder } from './paths.ts'
import { createStoreOver } from './store.ts'
import type { Store } from './types.ts'

export interface OpenStoreOptions {
  /** How long to wait for another process that has the index. Default 120 s. */
  readonly waitMs?: number
  /** Called while waiting, besides the `wait` event. */
  readonly onWait?: (waitedMs: number) => void
}

const DEFAULT_WAIT_MS = 120_000
const POLL_MS = 50
const SAY_EVERY_MS = 2_000

/** Makes an empty store in a `.cxv` folder. Doing it again changes nothing. */
export function createStore(folder: string): Promise<void> {
  makeFolder(packsFolder(folder))
  return Promise.resolve()
}

/**
 * Opens the store of a `.cxv` folder. The index is brought in step with the packs on disk: what was
 * published just before a kill is picked up, what is gone is dropped, a broken index is built anew.
 * @param folder absolute path of `.cxv`
 * @throws CxvError INDEX_BUSY, FILE_SYSTEM, NO_SPACE
 */
export async function openStore(
  ctx: Context,
  folder: string,
  options: OpenStoreOptions = {},
): Promise<Store> {
  if (!pathExists(folder)) throw new CxvError('REPO_NOT_FOUND', `there is no ${folder}`)
  let saidAt = -SAY_EVERY_MS
  let told = false
  const index = await openIndex(folder, {
    waitMs: options.waitMs ?? DEFAULT_WAIT_MS,
    now: ctx.now,
    onMovedAside(to) {
      told = true
      ctx.emit({
        type: 'warn',
        code: 'INDEX_REBUILT',
        message: `the index was damaged and is built again from the packs; the old one is ${to}. What was staged and not committed is staged no longer.`,
        hint: '`cxv status` shows what to `cxv add` again',
      })
    },
    onNew() {
      // Before the first add there is none yet.
      if (told || namesIn(packsFolder(folder)).length === 0) return
      ctx.emit({
        type: 'warn',
        code: 'INDEX_REBUILT',
        message:
          'the index was gone and is built again from the packs. What was staged and not committed is staged no longer.',
        hint: '`cxv status` shows what to `cxv add` again',
      })
    },
    async onWait(waitedMs) {
      ctx.signal.throwIfAborted()
      options.onWait?.(waitedMs)
      if (waitedMs - saidAt >= SAY_EVERY_MS) {
        saidAt = waitedMs
        ctx.emit({
          type: 'wait',
          what: 'the index of this repository',
          holder: 'another cxv process',
          waitedMs,
        })
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    },
  })
  try {
    await matchPacks(index, packsFolder(folder))
    return createStoreOver(ctx, folder, index)
  } catch (error) {
    await index.close()
    throw error
  }
}
