import { startWorker, usefulThreads, type WorkerHandle, workerPort } from '../io/index.ts'
import { decodeError, encodeError, type WireError } from './add-wire.ts'

interface Request<Job> {
  readonly number: number
  readonly job: Job
}
type Reply<Result> =
  | { readonly number: number; readonly result: Result }
  | { readonly number: number; readonly error: WireError }

/** Threads that do jobs, started as there are jobs for them. */
export interface ThreadPool<Job, Result> {
  readonly width: number
  /**
   * Gives the job to the thread with the least to do.
   * @param transfer buffers that move to the thread instead of being copied
   * @throws what the job threw, as a CxvError if it was one
   */
  run(job: Job, transfer?: readonly ArrayBuffer[]): Promise<Result>
  /** Ends the threads, whatever they are doing. */
  close(): Promise<void>
}

interface Waiting<Result> {
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}
interface Thread<Result> {
  readonly worker: WorkerHandle
  readonly waiting: Map<number, Waiting<Result>>
}

/**
 * @param url of a compiled module that calls `serveJobs`
 * @param width threads at most: one a core, for work that does not wait
 */
export function createThreadPool<Job, Result>(
  url: URL,
  setup: unknown,
  width = usefulThreads(),
): ThreadPool<Job, Result> {
  const threads: Thread<Result>[] = []
  let next = 0

  const start = (): Thread<Result> => {
    const worker = startWorker(url, setup)
    const waiting = new Map<number, Waiting<Result>>()
    worker.onMessage((raw) => {
      const reply = raw as Reply<Result>
      const promised = waiting.get(reply.number)
      waiting.delete(reply.number)
      if ('error' in reply) promised?.reject(decodeError(reply.error))
      else promised?.resolve(reply.result)
    })
    worker.onFailure((error) => {
      threads.splice(threads.indexOf(thread), 1)
      for (const { reject } of waiting.values()) reject(error)
    })
    const thread = { worker, waiting }
    threads.push(thread)
    return thread
  }
  const leastBusy = (): Thread<Result> => {
    const [first] = [...threads].sort((a, b) => a.waiting.size - b.waiting.size)
    const wanted = first === undefined || (first.waiting.size > 0 && threads.length < width)
    return wanted ? start() : first
  }
  return {
    width,
    run(job, transfer = []) {
      const { worker, waiting } = leastBusy()
      const request: Request<Job> = { number: next++, job }
      return new Promise((resolve, reject) => {
        waiting.set(request.number, { resolve, reject })
        worker.post(request, transfer)
      })
    },
    async close() {
      await Promise.all(threads.splice(0).map(({ worker }) => worker.stop()))
    },
  }
}

/**
 * The other end, called by a thread's module: jobs are begun in the order they come.
 * @param moved buffers of a result that move back instead of being copied
 */
export function serveJobs<Job, Result>(
  create: (setup: unknown) => (job: Job) => Result | Promise<Result>,
  moved: (result: Result) => readonly ArrayBuffer[] = () => [],
): void {
  const { port, data } = workerPort()
  const work = create(data)
  port.onMessage((raw) => {
    const { number, job } = raw as Request<Job>
    void (async () => {
      try {
        const result = await work(job)
        port.post({ number, result } satisfies Reply<Result>, moved(result))
      } catch (error) {
        port.post({ number, error: encodeError(error) } satisfies Reply<Result>)
      }
    })()
  })
}
