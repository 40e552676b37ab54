import { once } from 'node:events'
import { resolve } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { openFolder } from '../backend/index.ts'
import type { Backend, ByteRange } from '../backend/types.ts'
import { type Context, CxvError, isCxvError } from '../base/index.ts'
import {
  createMessageReader,
  encodeMessage,
  type Message,
  type MessageType,
} from '../format/index.ts'

/** Requests answered at a time; reading stops above it, so that memory stays bounded. */
const MAX_IN_FLIGHT = 8
const PAGE_ENTRIES = 1000
const NOTHING = new Uint8Array(0)

type Send = (
  type: MessageType,
  id: number,
  header: Record<string, unknown>,
  body?: Uint8Array,
) => Promise<void>

/**
 * Answers requests on stdin with messages on stdout until stdin ends. Sees nothing outside `path`;
 * the folder is made by the first put.
 * @returns the exit status: 0 after a clean end, 15 when what came was not the protocol
 */
export async function serveStdio(
  ctx: Context & { readonly cwd?: string },
  path: string,
  stdin: Readable,
  stdout: Writable,
): Promise<number> {
  const backend = openFolder(ctx, resolve(ctx.cwd ?? '.', path))
  const send = createSender(stdout)
  const reader = createMessageReader()
  const busy = new Set<Promise<void>>()
  let greeted = false
  const hangUp = (): void => void stdin.destroy()
  ctx.signal.addEventListener('abort', hangUp, { once: true })
  try {
    for await (const piece of stdin as AsyncIterable<Uint8Array>) {
      for (const message of reader.push(piece)) {
        if (message.type === 'hello') {
          greeted = true
          await send('welcome', 0, { protocol: 1, caps: backend.caps })
          continue
        }
        if (!greeted) throw new CxvError('FORMAT_INVALID', 'a request came before hello')
        const work: Promise<void> = answer(backend, message, send).finally(() => busy.delete(work))
        busy.add(work)
        while (busy.size >= MAX_IN_FLIGHT) await Promise.race(busy)
      }
    }
    await Promise.all(busy)
    return reader.partial ? 15 : 0
  } catch (error) {
    await Promise.allSettled(busy)
    // The line is no longer in step: say why, once, and hang up.
    await send('fail', 0, failureOf(error)).catch(() => undefined)
    return 15
  } finally {
    ctx.signal.removeEventListener('abort', hangUp)
    await backend.close()
  }
}

/** One message after the other, whole, as fast as the pipe takes them. */
function createSender(stdout: Writable): Send {
  let last: Promise<unknown> = Promise.resolve()
  return (type, id, header, body = NOTHING) => {
    const write = async (): Promise<void> => {
      for (const piece of encodeMessage({ type, id, header, body })) {
        if (stdout.destroyed) throw new Error('the other side has gone')
        if (!stdout.write(piece)) await once(stdout, 'drain')
      }
    }
    const done = last.then(write, write)
    last = done.catch(() => undefined)
    return done
  }
}

async function answer(backend: Backend, message: Message, send: Send): Promise<void> {
  const { id } = message
  try {
    switch (message.type) {
      case 'get': {
        const got = await backend.get(keyOf(message), rangeOf(message))
        if (got === undefined) return await send('ok', id, { found: false })
        return await send('ok', id, { found: true, etag: got.etag }, got.bytes)
      }
      case 'stat': {
        const info = await backend.stat(keyOf(message))
        return await send('ok', id, info ? { found: true, info } : { found: false })
      }
      case 'list':
        return await answerList(backend, message, send)
      case 'put': {
        const { ifMatch } = message.header
        const conditional = ifMatch === null || typeof ifMatch === 'string'
        const info = await backend.put(
          keyOf(message),
          message.body,
          conditional ? { ifMatch } : undefined,
        )
        return await send('ok', id, { info })
      }
      case 'delete':
        await backend.delete(keyOf(message))
        return await send('ok', id, {})
      default:
        throw new CxvError('FORMAT_INVALID', `${message.type} is not a request`)
    }
  } catch (error) {
    // When even this cannot be sent, stdin ends next and the loop with it.
    await send('fail', id, failureOf(error)).catch(() => undefined)
  }
}

async function answerList(backend: Backend, message: Message, send: Send): Promise<void> {
  const { prefix } = message.header
  if (typeof prefix !== 'string') throw new CxvError('FORMAT_INVALID', 'list without a prefix')
  let page: [string, number, string][] = []
  for await (const { key, size, etag } of backend.list(prefix)) {
    page.push([key, size, etag])
    if (page.length < PAGE_ENTRIES) continue
    await send('more', message.id, { entries: page })
    page = []
  }
  await send('ok', message.id, { entries: page })
}

function keyOf(message: Message): string {
  const { key } = message.header
  if (typeof key !== 'string') throw new CxvError('FORMAT_INVALID', 'a request without a key')
  return key
}

function rangeOf(message: Message): ByteRange | undefined {
  const { offset, length } = message.header
  if (offset === undefined && length === undefined) return undefined
  if (!isCount(offset) || !isCount(length)) {
    throw new CxvError('FORMAT_INVALID', 'a request with a bad range')
  }
  return { offset, length }
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

const failureOf = (error: unknown): Record<string, unknown> =>
  isCxvError(error)
    ? {
        code: error.code,
        message: error.message.slice(0, 2000),
        ...(error.hint === undefined ? {} : { hint: error.hint.slice(0, 2000) }),
      }
    : { code: 'REMOTE_FAILED', message: String(error).slice(0, 2000) }
