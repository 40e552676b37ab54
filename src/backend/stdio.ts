import type { Readable, Writable } from 'node:stream'
import {
  CODES,
  type Context,
  CxvError,
  type ErrorCode,
  isRecord,
  printable,
} from '../base/index.ts'
import {
  createMessageReader,
  encodeMessage,
  type Message,
  type MessageType,
  WIRE_BODY_MAX,
} from '../format/index.ts'
import { checkKey, checkPrefix, isKey } from './key.ts'
import type { Backend, BackendCaps, Key, ObjectInfo } from './types.ts'

/** A conversation with `cxv serve --stdio`. */
export interface Line {
  readonly input: Writable
  readonly output: Readable
  /** Why the line ended, asked once after it did: the words of ssh or of the program. */
  why(seen: Uint8Array): Promise<CxvError>
  end(): Promise<void>
}

const NOTHING = new Uint8Array(0)
/** A watched body is written in pieces of this much, so that it is seen to go. */
const WATCHED_PIECE_BYTES = 256 << 10
const LIST_MAX_ENTRIES = 4_000_000
/** Bytes before the first message that are kept to be shown (a shell's greeting). */
const SEEN_MAX_BYTES = 400

type OnBytes = ((bytes: number) => void) | undefined

interface Pending {
  /** So much of the answer's body is here. */
  arriving?(bodyBytes: number): void
  message(message: Message): void
  fail(error: unknown): void
}

interface Connection {
  readonly caps: BackendCaps
  readonly alive: () => boolean
  request(
    type: MessageType,
    header: Record<string, unknown>,
    body: Uint8Array,
    pending: Pending,
    onSent?: OnBytes,
  ): void
  /** Fails all that waits: the answers no longer matter. */
  interrupt(error: Error): void
  end(): Promise<void>
}

const asError = (error: unknown): Error =>
  error instanceof Error ? error : new Error(String(error))

const reasonOf = (signal: AbortSignal | undefined): Error => asError(signal?.reason)

/**
 * A remote on the other end of a pipe. Requests are sent as they come, many at a time; answers come in
 * any order. A line that ended is opened again by the next call (see withRetry).
 */
export async function openStdioBackend(
  ctx: Context,
  url: string,
  dial: () => Line,
): Promise<Backend> {
  let connection = await connect(url, dial)
  let dialing: Promise<Connection> | undefined
  const caps = connection.caps
  const interrupt = (): void => connection.interrupt(reasonOf(ctx.signal))
  ctx.signal.addEventListener('abort', interrupt, { once: true })

  const current = async (): Promise<Connection> => {
    if (connection.alive()) return connection
    dialing ??= connect(url, dial).finally(() => (dialing = undefined))
    connection = await dialing
    return connection
  }

  const ask = async (
    type: MessageType,
    header: Record<string, unknown>,
    body: Uint8Array,
    signal: AbortSignal | undefined,
    watch: { readonly sent?: OnBytes; readonly arrived?: OnBytes } = {},
  ): Promise<Message> => {
    signal?.throwIfAborted()
    ctx.signal.throwIfAborted()
    const line = await current()
    return new Promise<Message>((resolve, reject) => {
      const stop = (): void => reject(reasonOf(signal))
      signal?.addEventListener('abort', stop, { once: true })
      const settle = (): void => signal?.removeEventListener('abort', stop)
      let here = 0
      const arriving = (bodyBytes: number): void => {
        if (bodyBytes > here) watch.arrived?.(bodyBytes - here)
        here = Math.max(here, bodyBytes)
      }
      const pending: Pending = {
        arriving,
        message: (message) => {
          settle()
          arriving(message.body.length)
          resolve(message)
        },
        fail: (error) => {
          settle()
          reject(asError(error))
        },
      }
      line.request(type, header, body, pending, watch.sent)
    })
  }

  return {
    url,
    caps,
    async get(key, range, options) {
      checkKey(key)
      const { header, body } = await ask('get', { key, ...range }, NOTHING, options?.signal, {
        arrived: options?.onBytes,
      })
      if (header['found'] === false) return undefined
      const { etag } = header
      if (typeof etag !== 'string') throw nonsense(url, 'get')
      if (range !== undefined && body.length !== range.length) throw nonsense(url, 'get')
      return { bytes: body, etag }
    },
    async stat(key, options) {
      checkKey(key)
      const { header } = await ask('stat', { key }, NOTHING, options?.signal)
      return header['found'] === false ? undefined : infoOf(url, header['info'], key)
    },
    list: (prefix, options) => listPages(ctx, url, prefix, current, options?.signal),
    async put(key, body, options) {
      checkKey(key)
      const ifMatch = options?.ifMatch
      const header = ifMatch === undefined ? { key } : { key, ifMatch }
      const answer = await ask('put', header, body, options?.signal, {
        sent: options?.onBytes,
      })
      return infoOf(url, answer.header['info'], key)
    },
    async delete(key, options) {
      checkKey(key)
      await ask('delete', { key }, NOTHING, options?.signal)
    },
    async close() {
      ctx.signal.removeEventListener('abort', interrupt)
      await connection.end()
    },
  }
}

async function* listPages(
  ctx: Context,
  url: string,
  prefix: string,
  current: () => Promise<Connection>,
  signal: AbortSignal | undefined,
): AsyncGenerator<ObjectInfo> {
  checkPrefix(prefix)
  const line = await current()
  const pages: Message[] = []
  let failed: { readonly error: unknown } | undefined
  let wake = (): void => undefined
  let entries = 0
  line.request('list', { prefix }, NOTHING, {
    message(message) {
      pages.push(message)
      wake()
    },
    fail(error) {
      failed = { error }
      wake()
    },
  })
  for (;;) {
    ctx.signal.throwIfAborted()
    signal?.throwIfAborted()
    const page = pages.shift()
    if (page === undefined) {
      if (failed !== undefined) throw asError(failed.error)
      await new Promise<void>((resolve) => (wake = resolve))
      continue
    }
    const rows = page.header['entries']
    if (!Array.isArray(rows)) throw nonsense(url, 'list')
    entries += rows.length
    if (entries > LIST_MAX_ENTRIES) throw nonsense(url, 'list')
    for (const row of rows as unknown[]) {
      const [key, size, etag] = Array.isArray(row) ? (row as unknown[]) : []
      if (typeof key !== 'string' || !key.startsWith(prefix)) throw nonsense(url, 'list')
      yield infoOf(url, { key, size, etag }, key)
    }
    if (page.type === 'ok') return
  }
}

/** Starts the line, says hello, waits for the welcome. */
async function connect(url: string, dial: () => Line): Promise<Connection> {
  const line = dial()
  const reader = createMessageReader(WIRE_BODY_MAX)
  const waiting = new Map<number, Pending>()
  let nextId = 1
  let ended = false
  let greeting: Pending | undefined
  let seen: Uint8Array = NOTHING

  const finish = (error: unknown): void => {
    if (ended) return
    ended = true
    greeting?.fail(error)
    for (const pending of waiting.values()) pending.fail(error)
    waiting.clear()
    void line.end().catch(() => undefined)
  }
  const receive = (message: Message): void => {
    if (message.type === 'fail' && message.id === 0) return finish(errorOf(url, message))
    if (message.type === 'welcome') return greeting?.message(message)
    const pending = waiting.get(message.id)
    if (pending === undefined) return finish(nonsense(url, message.type))
    if (message.type !== 'more') waiting.delete(message.id)
    if (message.type === 'fail') pending.fail(errorOf(url, message))
    else if (message.type === 'ok' || message.type === 'more') pending.message(message)
    else finish(nonsense(url, message.type))
  }
  const lost = (): void => {
    if (ended) return
    void line.why(seen).then(finish, finish)
  }
  line.output.on('data', (piece: Uint8Array) => {
    if (greeting !== undefined && seen.length < SEEN_MAX_BYTES) {
      seen = Buffer.concat([seen, piece]).subarray(0, SEEN_MAX_BYTES)
    }
    try {
      for (const message of reader.push(piece)) receive(message)
      const next = reader.arriving()
      if (next !== undefined) waiting.get(next.id)?.arriving?.(next.bodyBytes)
    } catch (error) {
      finish(greeting === undefined ? error : notTheProtocol(url, seen, error))
    }
  })
  line.output.on('end', lost)
  line.output.on('error', lost)
  line.input.on('error', lost)

  const write = createWriter(line.input)
  const welcome = new Promise<Message>((resolve, reject) => {
    greeting = {
      message: resolve,
      fail: (error) => reject(asError(error)),
    }
  })
  write({ type: 'hello', id: 0, header: { protocol: 1 }, body: NOTHING })
  const { header } = await welcome
  greeting = undefined
  seen = NOTHING
  if (header['protocol'] !== 1) {
    await line.end()
    throw otherVersion(url, header['protocol'])
  }
  const caps = isRecord(header['caps']) ? header['caps'] : {}
  return {
    caps: { compareAndSwap: caps['compareAndSwap'] === true, write: caps['write'] === true },
    alive: () => !ended,
    request(type, fields, body, pending, onSent) {
      if (ended) return pending.fail(lineLost(url))
      const id = nextId++
      waiting.set(id, pending)
      write({ type, id, header: fields, body }, onSent)
    },
    interrupt: finish,
    async end() {
      finish(lineLost(url))
      await line.end()
    },
  }
}

/** Whole messages in order; pieces wait for the pipe. A failing pipe is reported by its 'error' event. */
function createWriter(input: Writable): (message: Message, onSent?: OnBytes) => void {
  let last: Promise<void> = Promise.resolve()
  const writePiece = (piece: Uint8Array): Promise<void> =>
    new Promise((resolve) => {
      if (input.destroyed || !input.writable) return resolve()
      input.write(piece, () => resolve())
    })
  const writeWatched = async (body: Uint8Array, onSent: (bytes: number) => void): Promise<void> => {
    for (let at = 0; at < body.length; at += WATCHED_PIECE_BYTES) {
      const piece = body.subarray(at, at + WATCHED_PIECE_BYTES)
      await writePiece(piece)
      if (input.destroyed || !input.writable) return
      onSent(piece.length)
    }
  }
  return (message, onSent) => {
    const pieces = encodeMessage(message)
    last = last.then(async () => {
      for (const piece of pieces) {
        if (piece === message.body && onSent !== undefined) await writeWatched(piece, onSent)
        else await writePiece(piece)
      }
    })
  }
}

function infoOf(url: string, value: unknown, key: Key): ObjectInfo {
  if (!isRecord(value)) throw nonsense(url, 'stat')
  const { size, etag } = value
  const sound =
    value['key'] === key && isKey(key) && typeof size === 'number' && Number.isSafeInteger(size)
  if (!sound || size < 0 || typeof etag !== 'string' || etag.length > 200) {
    throw nonsense(url, 'stat')
  }
  return { key, size, etag }
}

/** Codes that the other side may name; anything else is its own trouble. */
const PASSED_ON: ReadonlySet<string> = new Set<ErrorCode>([
  'PRECONDITION_FAILED',
  'REMOTE_CORRUPT',
  'REMOTE_INVALID',
  'REMOTE_READ_ONLY',
  'REPO_LOCKED',
  'TOO_LARGE',
  'NO_SPACE',
  'FILE_SYSTEM',
])

function errorOf(url: string, { header }: Message): CxvError {
  const { code, message, hint } = header
  const text = typeof message === 'string' ? message.slice(0, 2000) : 'it did not say why'
  const known = typeof code === 'string' && PASSED_ON.has(code) && code in CODES
  return new CxvError(known ? (code as ErrorCode) : 'REMOTE_FAILED', `${url}: ${text}`, {
    ...(typeof hint === 'string' ? { hint: hint.slice(0, 2000) } : {}),
    // The same request would fail the same way.
    data: { remoteCode: typeof code === 'string' ? code : null, final: true },
  })
}

const nonsense = (url: string, what: string): CxvError =>
  new CxvError('REMOTE_CORRUPT', `${url} gave an answer to ${what} that makes no sense`)

const otherVersion = (url: string, theirs: unknown): CxvError =>
  new CxvError(
    'REMOTE_INVALID',
    `${url} speaks version ${String(theirs)} of the stdio protocol, this cxv version 1`,
    { hint: 'install the same version of cxv on both machines' },
  )

export const lineLost = (url: string): CxvError =>
  new CxvError('REMOTE_FAILED', `the connection to ${url} was lost`, {
    hint: 'run the same command again: what arrived is kept',
  })

function notTheProtocol(url: string, seen: Uint8Array, cause: unknown): CxvError {
  const words = printable(new TextDecoder().decode(seen)).trim().slice(0, 160)
  return new CxvError('REMOTE_INVALID', `${url} did not answer as cxv: it said "${words}"`, {
    hint: 'nothing may print on stdout when a shell starts there (look at .bashrc), and both sides need the same cxv',
    cause,
    data: { final: true },
  })
}
