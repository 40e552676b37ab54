import { type ContentId, type Context, toHex } from '../base/index.ts'
import { decodeTable } from '../format/index.ts'
import { sizeIfAny, startWorker, usefulThreads } from '../io/index.ts'
import { type AddDesk, createAddDesk } from './add-desk.ts'
import {
  type AdderSetup,
  decodeError,
  decodeRun,
  encodeAnswers,
  encodeRun,
  type FromAdder,
  splitIds,
  type ToAdder,
  type WireRun,
} from './add-wire.ts'
import { createAdder, type FileResult, type Progress } from './adder.ts'
import type { ChunkIndex } from './level-index.ts'
import type { AddedFile, FileToAdd } from './types.ts'

/** Starting a thread costs about as much as adding this much on the main one (measured: 40-60 ms). */
const SMALL_FILES = 256
const SMALL_BYTES = 24 << 20
/** A run is about this much, so that packs stay contiguous and threads end at the same time. */
const RUN_BYTES = 16 << 20
const RUN_FILES = { first: 64, min: 16, max: 2_048 } as const
const QUEUED_RUNS = 2

/** One adder, wherever it runs. */
interface AddThread {
  run(run: number, paths: readonly string[]): void
  finish(): void
  stop(): Promise<void>
}

/** What threads tell the loop; each call may let it go on. */
interface Listener {
  progress(progress: Progress): void
  durable(stamp: number): void
  ran(run: number, result: WireRun): void
  /** No more comes from this thread. */
  settled(error: unknown): void
}

interface ThreadState {
  thread: AddThread
  queued: number
  durable: number
  finishing: boolean
  settled: boolean
}

interface Run {
  readonly worker: number
  readonly files: readonly FileToAdd[]
  /** Kept packed until its turn: thousands of files may wait for the packs before theirs. */
  result: WireRun | undefined
}

export interface AddOptions {
  readonly onBytes?: (files: number, bytes: number) => void
}

/** @see Store.addFiles */
export async function* addFiles(
  ctx: Context,
  index: ChunkIndex,
  packs: string,
  files: Iterable<FileToAdd>,
  options: AddOptions = {},
): AsyncGenerator<readonly AddedFile[]> {
  ctx.signal.throwIfAborted()
  const feed = createFeed(files)
  const count = feed.threads()
  if (count === undefined) return
  const desk = createAddDesk(index)
  const stop = new Int32Array(new SharedArrayBuffer(4))
  const states: ThreadState[] = []
  const runs = new Map<number, Run>()
  let nextRun = 0
  let released = 0
  let failure: { readonly error: unknown } | undefined
  let wake: () => void = () => undefined

  const start = (worker: number): void => {
    const listener: Listener = {
      progress: ({ files: n, bytes }) => {
        if (n > 0 || bytes > 0) options.onBytes?.(n, bytes)
      },
      durable(stamp) {
        state.durable = Math.max(state.durable, stamp)
        wake()
      },
      ran(run, result) {
        state.queued--
        const entry = runs.get(run)
        if (entry !== undefined) entry.result = result
        feed.learn(result)
        wake()
      },
      settled(error) {
        state.settled = true
        if (error !== undefined) failure ??= { error }
        wake()
      },
    }
    const create = count === 0 ? createLocalThread : createWorkerThread
    const state: ThreadState = {
      thread: create(worker, packs, desk, stop, listener),
      queued: 0,
      durable: 0,
      finishing: false,
      settled: false,
    }
    states.push(state)
  }

  /** Gives every thread something to do, or tells it that nothing more comes. */
  const handOut = (): void => {
    const stopping = failure !== undefined || ctx.signal.aborted
    if (stopping) Atomics.store(stop, 0, 1)
    states.forEach((state, worker) => {
      while (!stopping && state.queued < QUEUED_RUNS) {
        const next = feed.next()
        if (next === undefined) break
        runs.set(nextRun, { worker, files: next, result: undefined })
        state.queued++
        state.thread.run(
          nextRun++,
          next.map((f) => f.absolutePath),
        )
      }
      if (state.queued === 0 && !state.finishing) {
        state.finishing = true
        state.thread.finish()
      }
    })
  }

  const isDurable = ({ worker, result }: Run): boolean => {
    if (result === undefined || states[worker]!.durable < result.stamp) return false
    for (const [other, stamp] of result.waitsFor) {
      if (states[other]!.durable < stamp) return false
    }
    return true
  }

  const onAbort = (): void => wake()
  ctx.signal.addEventListener('abort', onAbort)
  try {
    for (let worker = 0; worker < Math.max(1, count); worker++) start(worker)
    for (;;) {
      const woken = new Promise<void>((resolve) => (wake = resolve))
      handOut()
      for (;;) {
        const run = runs.get(released)
        if (run?.result === undefined || failure !== undefined || !isDurable(run)) break
        runs.delete(released++)
        listenerProgress(options, run.result.progress)
        const results = decodeRun(run.result).files
        yield run.files.map((file, i) => addedFile(file, results[i]))
      }
      if (states.every((state) => state.settled)) {
        ctx.signal.throwIfAborted()
        if (failure !== undefined) throw failure.error
        if (runs.size === 0) return
      }
      await woken
    }
  } finally {
    ctx.signal.removeEventListener('abort', onAbort)
    Atomics.store(stop, 0, 1)
    await Promise.all(states.map((state) => state.thread.stop()))
  }
}

function listenerProgress(options: AddOptions, { files, bytes }: Progress): void {
  if (files > 0 || bytes > 0) options.onBytes?.(files, bytes)
}

function addedFile({ path }: FileToAdd, result: FileResult | undefined): AddedFile {
  if (result === undefined) throw new Error(`no result for ${path}`)
  if (!result.ok) return { path, status: 'failed', code: result.code, message: result.message }
  return {
    path,
    status: result.stored ? 'added' : 'known',
    // Our own SHA-256: not looked at again.
    id: toHex(result.id) as ContentId,
    stat: result.facts,
    newBytes: result.newBytes,
  }
}

/** Hands out runs of files in order, each about RUN_BYTES by what the files before were like. */
function createFeed(files: Iterable<FileToAdd>): {
  /** Threads worth starting; 0: none, the main one will do; undefined: there are no files. */
  threads(): number | undefined
  next(): readonly FileToAdd[] | undefined
  learn(result: WireRun): void
} {
  const iterator = files[Symbol.iterator]()
  const peeked: FileToAdd[] = []
  let ended = false
  let seenFiles = 0
  let seenBytes = 0
  const pull = (): FileToAdd | undefined => {
    if (ended) return undefined
    const item = iterator.next()
    if (item.done !== true) return item.value
    ended = true
    return undefined
  }
  return {
    threads() {
      while (peeked.length <= SMALL_FILES) {
        const file = pull()
        if (file === undefined) break
        peeked.push(file)
      }
      if (peeked.length === 0) return undefined
      if (!ended) return usefulThreads()
      let bytes = 0
      for (const file of peeked) bytes += sizeIfAny(file.absolutePath) ?? 0
      return bytes <= SMALL_BYTES ? 0 : Math.min(usefulThreads(), peeked.length)
    },
    next() {
      const wanted =
        seenFiles === 0
          ? RUN_FILES.first
          : Math.round((RUN_BYTES * seenFiles) / Math.max(1, seenBytes))
      const n = Math.max(RUN_FILES.min, Math.min(RUN_FILES.max, wanted))
      const run = peeked.splice(0, n)
      while (run.length < n) {
        const file = pull()
        if (file === undefined) break
        run.push(file)
      }
      return run.length > 0 ? run : undefined
    },
    learn(result) {
      seenFiles += result.readFiles
      seenBytes += result.readBytes
    },
  }
}

/** The adder on the main thread: for a handful of files. */
function createLocalThread(
  worker: number,
  packs: string,
  desk: AddDesk,
  stop: Int32Array,
  listener: Listener,
): AddThread {
  const adder = createAdder(packs, {
    ask(kind, stamp, ids, progress) {
      listener.progress(progress)
      return desk.ask(worker, kind, stamp, ids)
    },
    published: (pack) => desk.published(pack),
    stopped: () => Atomics.load(stop, 0) !== 0,
  })
  let work = Promise.resolve()
  let ended = false
  const next = (step: () => Promise<void>): void => {
    work = work.then(async () => {
      if (ended) return
      try {
        await step()
      } catch (error) {
        ended = true
        await adder.abandon()
        listener.settled(error)
      }
    })
  }
  return {
    run: (run, paths) =>
      next(async () => {
        const result = await adder.addRun(paths)
        listener.durable(adder.durableStamp())
        listener.ran(run, encodeRun(result))
      }),
    finish: () =>
      next(async () => {
        await adder.finish()
        ended = true
        listener.durable(adder.durableStamp())
        listener.settled(undefined)
      }),
    async stop() {
      next(async () => {
        ended = true
        await adder.abandon()
      })
      await work
    },
  }
}

function createWorkerThread(
  worker: number,
  packs: string,
  desk: AddDesk,
  stop: Int32Array<SharedArrayBuffer>,
  listener: Listener,
): AddThread {
  const setup: AdderSetup = { packs, stop: stop.buffer }
  const handle = startWorker(new URL('./add.worker.js', import.meta.url), setup)
  const post = (message: ToAdder, transfer: readonly ArrayBuffer[] = []): void =>
    handle.post(message, transfer)

  const onMessage = async (message: FromAdder): Promise<void> => {
    switch (message.type) {
      case 'ask': {
        listener.progress(message.progress)
        const ids = splitIds(message.ids)
        const answers = encodeAnswers(await desk.ask(worker, message.kind, message.stamp, ids))
        post({ type: 'answers', answers }, [answers.numbers.buffer, answers.plain.buffer])
        break
      }
      case 'published': {
        const { id, kind, sizeBytes, table } = message
        await desk.published({ id, kind, sizeBytes, entries: decodeTable(table, sizeBytes) })
        post({ type: 'indexed' })
        break
      }
      case 'durable':
        listener.durable(message.stamp)
        break
      case 'ran':
        listener.durable(message.durable)
        listener.ran(message.run, message.result)
        break
      case 'finished':
        listener.settled(undefined)
        break
      case 'failed':
        listener.settled(decodeError(message.error))
        break
    }
  }
  handle.onMessage((raw) => {
    onMessage(raw as FromAdder).catch((error: unknown) => listener.settled(error))
  })
  handle.onFailure((error) => listener.settled(error))
  return {
    run: (run, paths) => post({ type: 'run', run, paths: paths.join('\0') }),
    finish: () => post({ type: 'finish' }),
    stop: () => handle.stop(),
  }
}
