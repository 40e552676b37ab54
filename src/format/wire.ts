import { crc32 } from 'node:zlib'
import { CxvError, isRecord, parseJsonBytes, utf8 } from '../base/index.ts'

/** Messages of the stdio protocol. docs/format.md#the-stdio-protocol gives every byte. */
export const WIRE_VERSION = 1
export const WIRE_HEADER_MAX = 1 << 20
/** No body is longer: packs are at most 64 MiB. */
export const WIRE_BODY_MAX = 72 << 20

const PREFIX_LENGTH = 16
const TRAILER_LENGTH = 4
const MAGIC_0 = 0x63 // c
const MAGIC_1 = 0x78 // x

const TYPES = {
  hello: 1,
  welcome: 2,
  get: 3,
  stat: 4,
  list: 5,
  put: 6,
  delete: 7,
  ok: 16,
  more: 17,
  fail: 18,
} as const

export type MessageType = keyof typeof TYPES

const TYPE_NAMES = new Map<number, MessageType>(
  Object.entries(TYPES).map(([name, number]) => [number, name as MessageType]),
)

export interface Message {
  readonly type: MessageType
  /** Pairs an answer with its request. 0 for hello and welcome. */
  readonly id: number
  readonly header: Readonly<Record<string, unknown>>
  readonly body: Uint8Array
}

/** The message as consecutive pieces; the body is not copied. */
export function encodeMessage(message: Message): readonly Uint8Array[] {
  const header = utf8(JSON.stringify(message.header))
  if (header.length > WIRE_HEADER_MAX || message.body.length > WIRE_BODY_MAX) {
    throw new CxvError('TOO_LARGE', 'a message of the stdio protocol is too long', {
      data: { header: header.length, body: message.body.length },
    })
  }
  const head = new Uint8Array(PREFIX_LENGTH + header.length)
  const view = new DataView(head.buffer)
  head[0] = MAGIC_0
  head[1] = MAGIC_1
  head[2] = WIRE_VERSION
  head[3] = TYPES[message.type]
  view.setUint32(4, message.id, true)
  view.setUint32(8, header.length, true)
  view.setUint32(12, message.body.length, true)
  head.set(header, PREFIX_LENGTH)
  const trailer = new Uint8Array(TRAILER_LENGTH)
  // zlib forgets the value so far when it is given no bytes at a null address.
  const sum = message.body.length === 0 ? crc32(head) : crc32(message.body, crc32(head))
  new DataView(trailer.buffer).setUint32(0, sum, true)
  return message.body.length === 0 ? [head, trailer] : [head, message.body, trailer]
}

/** Takes the stream in pieces of any size and gives out whole messages. */
export interface MessageReader {
  /** @throws CxvError FORMAT_INVALID for bytes that are no message, TOO_LARGE for lengths over the bounds */
  push(piece: Uint8Array): Message[]
  /** Whether a message has begun that is not complete. */
  readonly partial: boolean
  /** The message that has begun, once its length is known, and how much of its body is here. */
  arriving(): { readonly id: number; readonly bodyBytes: number } | undefined
}

export function createMessageReader(maxBody = WIRE_BODY_MAX): MessageReader {
  const prefix = new Uint8Array(PREFIX_LENGTH)
  const view = new DataView(prefix.buffer)
  let have = 0
  // Header, body and trailer of the message that is being read, once its prefix is known.
  let rest: Uint8Array | undefined
  return {
    get partial() {
      return have > 0
    },
    arriving() {
      if (rest === undefined) return undefined
      const body = have - PREFIX_LENGTH - view.getUint32(8, true)
      const bodyBytes = Math.max(0, Math.min(body, view.getUint32(12, true)))
      return { id: view.getUint32(4, true), bodyBytes }
    },
    push(piece) {
      const out: Message[] = []
      let at = 0
      while (at < piece.length) {
        if (rest === undefined) {
          const n = Math.min(PREFIX_LENGTH - have, piece.length - at)
          prefix.set(piece.subarray(at, at + n), have)
          have += n
          at += n
          checkMagic(prefix, have)
          if (have < PREFIX_LENGTH) break
          // Not zeroed: nothing of it is looked at before all of it was written.
          rest = unwritten(restLength(prefix, view, maxBody))
        }
        const filled = have - PREFIX_LENGTH
        const n = Math.min(rest.length - filled, piece.length - at)
        rest.set(piece.subarray(at, at + n), filled)
        have += n
        at += n
        if (have - PREFIX_LENGTH < rest.length) break
        out.push(decodeMessage(prefix, view, rest))
        rest = undefined
        have = 0
      }
      return out
    },
  }
}

function unwritten(length: number): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(length)
  return new Uint8Array(bytes.buffer, bytes.byteOffset, length)
}

/** Text before the first message (a shell's greeting) must fail at once, not wait for 16 bytes. */
function checkMagic(prefix: Uint8Array, have: number): void {
  if ((have > 0 && prefix[0] !== MAGIC_0) || (have > 1 && prefix[1] !== MAGIC_1)) {
    throw new CxvError('FORMAT_INVALID', 'not a message of the stdio protocol')
  }
}

function restLength(prefix: Uint8Array, view: DataView, maxBody: number): number {
  if (prefix[2] !== WIRE_VERSION) {
    throw new CxvError(
      'FORMAT_INVALID',
      `the other side speaks version ${prefix[2]} of the stdio protocol, this side ${WIRE_VERSION}`,
    )
  }
  const header = view.getUint32(8, true)
  const body = view.getUint32(12, true)
  if (header > WIRE_HEADER_MAX || body > maxBody) {
    throw new CxvError('TOO_LARGE', 'a message of the stdio protocol is too long', {
      data: { header, body },
    })
  }
  return header + body + TRAILER_LENGTH
}

function decodeMessage(prefix: Uint8Array, view: DataView, rest: Uint8Array): Message {
  const type = TYPE_NAMES.get(prefix[3] ?? 0)
  const headerLength = view.getUint32(8, true)
  const end = rest.length - TRAILER_LENGTH
  const sum = new DataView(rest.buffer).getUint32(end, true)
  if (crc32(rest.subarray(0, end), crc32(prefix)) !== sum) {
    throw new CxvError('FORMAT_INVALID', 'a message of the stdio protocol was damaged on its way')
  }
  let header: unknown
  try {
    header = parseJsonBytes(rest.subarray(0, headerLength))
  } catch (cause) {
    throw new CxvError('FORMAT_INVALID', 'a message header is not JSON', { cause })
  }
  if (type === undefined || !isRecord(header)) {
    throw new CxvError('FORMAT_INVALID', `unknown message type ${prefix[3]}`)
  }
  return { type, id: view.getUint32(4, true), header, body: rest.subarray(headerLength, end) }
}
