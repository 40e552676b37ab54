import { createHash } from 'node:crypto'
import { PassThrough, Readable } from 'node:stream'
import { type Line, openStdioBackend } from '../../src/backend/index.ts'
import { checkKey, checkPrefix } from '../../src/backend/key.ts'
import type { Backend } from '../../src/backend/types.ts'
import { type Context, CxvError } from '../../src/base/index.ts'
import { serveStdio } from '../../src/serve/index.ts'

/** The smallest thing that keeps the promises of `Backend`. */
export function memoryBackend(objects = new Map<string, Uint8Array>()): Backend {
  const etagOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
  const infoOf = (key: string, bytes: Uint8Array) => ({
    key,
    size: bytes.length,
    etag: etagOf(bytes),
  })
  return {
    url: 'mem:',
    caps: { compareAndSwap: true, write: true },
    async get(key, range) {
      checkKey(key)
      const bytes = objects.get(key)
      if (bytes === undefined) return undefined
      if (range !== undefined && range.offset + range.length > bytes.length) {
        throw new CxvError('REMOTE_CORRUPT', `${key} is shorter than that`)
      }
      const part = range ? bytes.subarray(range.offset, range.offset + range.length) : bytes
      return { bytes: Uint8Array.from(part), etag: etagOf(bytes) }
    },
    async stat(key) {
      checkKey(key)
      const bytes = objects.get(key)
      return bytes && infoOf(key, bytes)
    },
    async *list(prefix) {
      await Promise.resolve()
      checkPrefix(prefix)
      for (const [key, bytes] of [...objects]) if (key.startsWith(prefix)) yield infoOf(key, bytes)
    },
    async put(key, body, options) {
      checkKey(key)
      const now = objects.get(key)
      const etag = now === undefined ? null : etagOf(now)
      if (options?.ifMatch !== undefined && options.ifMatch !== etag) {
        throw new CxvError('PRECONDITION_FAILED', `${key} was changed`)
      }
      objects.set(key, Uint8Array.from(body))
      return infoOf(key, body)
    },
    async delete(key) {
      checkKey(key)
      objects.delete(key)
    },
    close: () => Promise.resolve(),
  }
}

type Method = 'get' | 'stat' | 'list' | 'put' | 'delete'

export interface Call {
  readonly method: Method
  readonly key: string
  readonly bytes: number
}

/** Writes down every request. */
export function counting(inner: Backend): Backend & { readonly calls: Call[] } {
  const calls: Call[] = []
  const note = (method: Method, key: string, bytes = 0): void =>
    void calls.push({ method, key, bytes })
  return {
    calls,
    url: inner.url,
    caps: inner.caps,
    get(key, range, o) {
      note('get', key, range?.length)
      return inner.get(key, range, o)
    },
    stat(key, o) {
      note('stat', key)
      return inner.stat(key, o)
    },
    list(prefix, o) {
      note('list', prefix)
      return inner.list(prefix, o)
    },
    put(key, body, o) {
      note('put', key, body.length)
      return inner.put(key, body, o)
    },
    delete(key, o) {
      note('delete', key)
      return inner.delete(key, o)
    },
    close: () => inner.close(),
  }
}

/** `before`: the request never arrived. `after`: it was done and the answer was lost. */
export type Fault = 'before' | 'after'

/** Fails the calls that `plan` says, each as a lost connection. */
export function faulty(
  inner: Backend,
  plan: (method: Method, key: string, nth: number) => Fault | undefined,
): Backend & { readonly faults: () => number } {
  let nth = 0
  let faults = 0
  const lost = (): CxvError =>
    new CxvError('REMOTE_FAILED', 'the connection was lost (a test made it so)')
  const call = async <T>(method: Method, key: string, go: () => Promise<T>): Promise<T> => {
    const fault = plan(method, key, nth++)
    if (fault !== undefined) faults++
    if (fault === 'before') throw lost()
    const result = await go()
    if (fault === 'after') throw lost()
    return result
  }
  return {
    faults: () => faults,
    url: inner.url,
    caps: inner.caps,
    get: (key, range, o) => call('get', key, () => inner.get(key, range, o)),
    stat: (key, o) => call('stat', key, () => inner.stat(key, o)),
    async *list(prefix, o) {
      const fault = plan('list', prefix, nth++)
      if (fault !== undefined) faults++
      if (fault === 'before') throw lost()
      let given = 0
      for await (const info of inner.list(prefix, o)) {
        yield info
        if (fault === 'after' && ++given === 1) throw lost()
      }
    },
    put: (key, body, o) => call('put', key, () => inner.put(key, body, o)),
    delete: (key, o) => call('delete', key, () => inner.delete(key, o)),
    close: () => inner.close(),
  }
}

/** As a pipe of the system gives them. */
async function* inPieces(stream: AsyncIterable<unknown>): AsyncGenerator<Uint8Array> {
  for await (const bytes of stream) {
    if (!(bytes instanceof Uint8Array)) throw new Error('not bytes')
    for (let at = 0; at < bytes.length; at += 64 << 10) yield bytes.subarray(at, at + (64 << 10))
  }
}

/** `cxv serve --stdio` in this process: pipes, no ssh. `cut()` breaks the line as a fallen network does. */
export async function pipedBackend(
  ctx: Context,
  folder: string,
): Promise<Backend & { cut(): void; readonly lines: () => number }> {
  let current: { input: PassThrough; output: PassThrough } | undefined
  let lines = 0
  const dial = (): Line => {
    lines++
    const input = new PassThrough()
    const output = new PassThrough()
    current = { input, output }
    void serveStdio(ctx, folder, input, output).finally(() => output.end())
    return {
      input,
      output: Readable.from(inPieces(output), { objectMode: false }),
      why: () => Promise.resolve(new CxvError('REMOTE_FAILED', 'the pipe broke')),
      end: () => {
        input.end()
        return Promise.resolve()
      },
    }
  }
  const backend = await openStdioBackend(ctx, 'pipe:', dial)
  return {
    ...backend,
    lines: () => lines,
    cut() {
      current?.output.end()
      current?.input.end()
    },
  }
}
