import { availableParallelism } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import { isMainThread, parentPort, threadId, Worker, workerData } from 'node:worker_threads'

/** A worker thread and the messages it sends. */
export interface WorkerHandle {
  /** @param transfer buffers that move instead of being copied */
  post(message: unknown, transfer?: readonly ArrayBuffer[]): void
  onMessage(listener: (message: unknown) => void): void
  /** Called once if the thread dies of an uncaught error, or ends without being stopped. */
  onFailure(listener: (error: Error) => void): void
  stop(): Promise<void>
}

/** The other end, inside the thread. */
export interface WorkerPort {
  post(message: unknown, transfer?: readonly ArrayBuffer[]): void
  onMessage(listener: (message: unknown) => void): void
  close(): void
}

/**
 * Starts a module on a thread of its own.
 * @param url of the compiled module: `new URL('./x.worker.js', import.meta.url)`
 */
export function startWorker(url: URL, data: unknown): WorkerHandle {
  optimiseLater()
  const worker = new Worker(url, {
    workerData: data,
    // V8's default lets each thread's nursery grow to 48 MiB; ours hold bytes outside the heap.
    resourceLimits: { maxYoungGenerationSizeMb: 8 },
  })
  let stopping = false
  return {
    post: (message, transfer = []) => worker.postMessage(message, [...transfer]),
    onMessage: (listener) => void worker.on('message', listener),
    onFailure(listener) {
      let told = false
      const tell = (error: Error): void => {
        if (told || stopping) return
        told = true
        listener(error)
      }
      worker.on('error', (error: unknown) =>
        tell(error instanceof Error ? error : new Error(String(error))),
      )
      worker.on('exit', (code) => tell(new Error(`a worker thread ended with status ${code}`)))
    },
    async stop() {
      stopping = true
      await worker.terminate()
    },
  }
}

/**
 * V8 optimises a function once so much of it has run (bytes of bytecode; 132 KB by default), in each thread anew
 * and on the cores that hash and read meanwhile (docs/decisions/0002).
 */
function optimiseLater(): void {
  setFlagsFromString('--interrupt-budget=300000')
}

/** @throws Error on the main thread */
export function workerPort(): { readonly port: WorkerPort; readonly data: unknown } {
  const port = parentPort
  if (isMainThread || port === null) throw new Error('not a worker thread')
  return {
    data: workerData as unknown,
    port: {
      post: (message, transfer = []) => port.postMessage(message, [...transfer]),
      onMessage: (listener) => void port.on('message', listener),
      close: () => port.close(),
    },
  }
}

/** Threads worth starting for hashing and file calls: one a core, at most four (docs/decisions/0002). */
export const usefulThreads = (): number => Math.max(1, Math.min(4, availableParallelism()))

/** Names this thread within its process: `temporaryBeside` counts per thread. */
export const threadName = (): string => `t${threadId}`

/**
 * Lets the heaps of this process grow to 1.6 times what lives in them before they are collected, not
 * to V8's two to four times. For verbs over very many small objects, before they make any: the bound of the
 * next collection is drawn at the one before.
 */
export function tightenHeaps(): void {
  setFlagsFromString('--heap-growing-percent=60')
}
