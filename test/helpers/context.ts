import { randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { Context, Event } from '../../src/base/index.ts'

export interface TestContext extends Context {
  readonly events: Event[]
}

/** A context that keeps what is emitted. */
export function testContext(signal: AbortSignal = new AbortController().signal): TestContext {
  const events: Event[] = []
  setMaxListeners(0, signal)
  return {
    events,
    emit: (event) => void events.push(event),
    signal,
    now: () => Date.now(),
    random: (length) => new Uint8Array(randomBytes(length)),
  }
}
