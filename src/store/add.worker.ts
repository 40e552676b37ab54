import { encodeTable } from '../format/index.ts'
import { workerPort } from '../io/index.ts'
import { type Answer, createAdder } from './adder.ts'
import {
  type AdderSetup,
  decodeAnswers,
  encodeError,
  encodeRun,
  type FromAdder,
  joinIds,
  type ToAdder,
} from './add-wire.ts'

/** Adds files on a thread of its own: the adder, with a host that speaks to the main thread. */
const { port, data } = workerPort()
const setup = data as AdderSetup
const stop = new Int32Array(setup.stop)

const post = (message: FromAdder, transfer: readonly ArrayBuffer[] = []): void =>
  port.post(message, transfer)

let answered: ((answers: readonly Answer[]) => void) | undefined
const indexed: (() => void)[] = []

const adder = createAdder(setup.packs, {
  ask(kind, stamp, ids, progress) {
    const joined = joinIds(ids)
    post({ type: 'ask', kind, stamp, ids: joined, progress }, [joined.buffer])
    return new Promise((resolve) => {
      answered = resolve
    })
  },
  async published({ id, kind, sizeBytes, entries }) {
    const table = encodeTable(entries)
    post({ type: 'published', id, kind, sizeBytes, table })
    await new Promise<void>((resolve) => indexed.push(resolve))
  },
  stopped: () => Atomics.load(stop, 0) !== 0,
})

/** Runs and the end, one after another, in the order they came. */
let work = Promise.resolve()
let failed = false

const next = (step: () => Promise<void>): void => {
  work = work.then(async () => {
    if (failed) return
    try {
      await step()
    } catch (error) {
      failed = true
      await adder.abandon()
      post({ type: 'failed', error: encodeError(error) })
    }
  })
}

port.onMessage((raw) => {
  const message = raw as ToAdder
  switch (message.type) {
    case 'answers':
      answered?.(decodeAnswers(message.answers))
      break
    case 'indexed':
      indexed.shift()?.()
      // Later: what is pending is known only after the writer has seen its promise resolve.
      setImmediate(() => post({ type: 'durable', stamp: adder.durableStamp() }))
      break
    case 'run':
      next(async () => {
        const result = encodeRun(await adder.addRun(message.paths.split('\0')))
        post({ type: 'ran', run: message.run, result, durable: adder.durableStamp() }, [
          result.records.buffer,
        ])
      })
      break
    case 'finish':
      next(async () => {
        await adder.finish()
        post({ type: 'durable', stamp: adder.durableStamp() })
        post({ type: 'finished' })
      })
      break
  }
})
