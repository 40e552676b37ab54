import { type Context, isCxvError } from '../base/index.ts'
import type { Backend, Key, ObjectInfo } from './types.ts'

export interface RetryOptions {
  /** Calls in all, the first included. */
  readonly attempts?: number
  /** Wait before the second call; doubles, with jitter, up to 30 s. */
  readonly firstWaitMs?: number
}

const LONGEST_WAIT_MS = 30_000

/**
 * The same backend, where a call that failed for a passing reason (a lost connection) is made again.
 * A conditional put whose answer was lost may so report PRECONDITION_FAILED although it won: the
 * caller reads the object and looks whose it is.
 */
export function withRetry(ctx: Context, inner: Backend, options: RetryOptions = {}): Backend {
  const attempts = options.attempts ?? 5
  const firstWaitMs = options.firstWaitMs ?? 500

  /** Waits, or rethrows when there is no sense in another call. */
  const again = async (error: unknown, what: string, attempt: number): Promise<void> => {
    const passing = isCxvError(error) && error.retryable && error.data['final'] !== true
    // Ctrl-C reaches ssh as well: that the line broke is then not the news.
    ctx.signal.throwIfAborted()
    if (!passing || attempt >= attempts) throw error
    const jitter = 0.5 + (ctx.random(1)[0] ?? 0) / 512
    const waitMs = Math.round(Math.min(LONGEST_WAIT_MS, firstWaitMs * 2 ** (attempt - 1)) * jitter)
    ctx.emit({ type: 'retry', what, attempt, waitMs, reason: error.message })
    await pause(waitMs, ctx.signal)
  }
  const repeat = async <T>(what: string, call: () => Promise<T>): Promise<T> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await call()
      } catch (error) {
        await again(error, what, attempt)
      }
    }
  }

  return {
    url: inner.url,
    get caps() {
      return inner.caps
    },
    get(key, range, o) {
      const attempt = watchAttempts(o)
      return repeat(`get ${key}`, () => inner.get(key, range, attempt()))
    },
    ...(inner.file && { file: (key: Key) => inner.file?.(key) }),
    stat: (key, o) => repeat(`stat ${key}`, () => inner.stat(key, o)),
    async *list(prefix, o) {
      const given = new Set<string>()
      for (let attempt = 1; ; attempt++) {
        try {
          for await (const info of inner.list(prefix, o)) {
            if (given.has(info.key)) continue
            given.add(info.key)
            yield info satisfies ObjectInfo
          }
          return
        } catch (error) {
          await again(error, `list ${prefix}`, attempt)
        }
      }
    },
    put(key, body, o) {
      const attempt = watchAttempts(o)
      return repeat(`put ${key}`, () => inner.put(key, body, attempt()))
    },
    delete: (key, o) => repeat(`delete ${key}`, () => inner.delete(key, o)),
    close: () => inner.close(),
  }
}

/** Options for each attempt, by which bytes that a broken one told of are not told of again. */
function watchAttempts<O extends { readonly onBytes?: (bytes: number) => void }>(
  options: O | undefined,
): () => O | undefined {
  const onBytes = options?.onBytes
  if (options === undefined || onBytes === undefined) return () => options
  let told = 0
  return () => {
    let passed = 0
    const tell = (bytes: number): void => {
      passed += bytes
      if (passed <= told) return
      onBytes(passed - told)
      told = passed
    }
    return { ...options, onBytes: tell }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer)
      reject(signal.reason instanceof Error ? signal.reason : new Error('interrupted'))
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop)
      resolve()
    }, ms)
    signal.addEventListener('abort', stop, { once: true })
  })
}
