import { CxvError, type ErrorCode, type PackId } from '../base/index.ts'
import type { ObjectKind, PackKind } from '../format/index.ts'
import type { Answer, FileResult, Progress, RunResult } from './adder.ts'
import type { Locator } from './types.ts'

/** What main thread and adding workers say to each other. Many small facts travel as one array. */
export type ToAdder =
  | { readonly type: 'run'; readonly run: number; readonly paths: string }
  | { readonly type: 'answers'; readonly answers: WireAnswers }
  | { readonly type: 'indexed' }
  | { readonly type: 'finish' }

export type FromAdder =
  | {
      readonly type: 'ask'
      readonly kind: ObjectKind
      readonly stamp: number
      readonly ids: Uint8Array
      readonly progress: Progress
    }
  | {
      readonly type: 'published'
      readonly id: PackId
      readonly kind: PackKind
      readonly sizeBytes: number
      /** The pack's own table. */
      readonly table: Uint8Array
    }
  | {
      readonly type: 'ran'
      readonly run: number
      readonly result: WireRun
      readonly durable: number
    }
  | { readonly type: 'durable'; readonly stamp: number }
  | { readonly type: 'finished' }
  | { readonly type: 'failed'; readonly error: WireError }

export interface AdderSetup {
  readonly packs: string
  /** One Int32, not 0 once the user has asked to stop. */
  readonly stop: SharedArrayBuffer
}

export const ID_BYTES = 32

export function joinIds(ids: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(ids.length * ID_BYTES)
  ids.forEach((id, i) => out.set(id, i * ID_BYTES))
  return out
}

export function splitIds(joined: Uint8Array): Uint8Array[] {
  const ids: Uint8Array[] = []
  for (let at = 0; at < joined.length; at += ID_BYTES) ids.push(joined.subarray(at, at + ID_BYTES))
  return ids
}

export interface WireAnswers {
  /** Four a chunk: state, then worker and stamp, or pack (in `packs`), offset, length of a known one. */
  readonly numbers: Uint32Array<ArrayBuffer>
  /** Plain lengths of the known ones. */
  readonly plain: Uint32Array<ArrayBuffer>
  readonly packs: readonly PackId[]
}

const STATES = { new: 0, pending: 1, known: 2 } as const

export function encodeAnswers(answers: readonly Answer[]): WireAnswers {
  const numbers = new Uint32Array(answers.length * 4)
  const plain = new Uint32Array(answers.length)
  const packs = new Map<PackId, number>()
  answers.forEach((answer, i) => {
    const at = i * 4
    numbers[at] = STATES[answer.state]
    if (answer.state === 'pending') {
      numbers[at + 1] = answer.worker
      numbers[at + 2] = answer.stamp
    } else if (answer.state === 'known') {
      let pack = packs.get(answer.at.pack)
      if (pack === undefined) packs.set(answer.at.pack, (pack = packs.size))
      numbers[at + 1] = pack
      numbers[at + 2] = answer.at.offset
      numbers[at + 3] = answer.at.length
      plain[i] = answer.at.plainLength
    }
  })
  return { numbers, plain, packs: [...packs.keys()] }
}

export function decodeAnswers({ numbers, plain, packs }: WireAnswers): Answer[] {
  const answers: Answer[] = []
  for (let i = 0; i < plain.length; i++) {
    const [state, a = 0, b = 0, c = 0] = numbers.subarray(i * 4, i * 4 + 4)
    if (state === STATES.pending) answers.push({ state: 'pending', worker: a, stamp: b })
    else if (state === STATES.known)
      answers.push({ state: 'known', at: locatorOf(packs, a, b, c, plain[i]) })
    else answers.push({ state: 'new' })
  }
  return answers
}

function locatorOf(
  packs: readonly PackId[],
  packIndex: number,
  offset: number,
  length: number,
  plainLength = 0,
): Locator {
  const pack = packs[packIndex]
  if (pack === undefined) throw new Error('an answer names no pack')
  return { pack, offset, length, plainLength }
}

/** Results of a run: one record a file, the failures apart. */
export interface WireRun {
  readonly records: Uint8Array<ArrayBuffer>
  readonly failures: readonly {
    readonly file: number
    readonly code: string
    readonly message: string
  }[]
  readonly stamp: number
  readonly waitsFor: ReadonlyMap<number, number>
  readonly progress: Progress
  readonly readFiles: number
  readonly readBytes: number
}

const RECORD_BYTES = 88

export function encodeRun(run: RunResult): WireRun {
  const records = new Uint8Array(run.files.length * RECORD_BYTES)
  const view = new DataView(records.buffer)
  const failures: { file: number; code: string; message: string }[] = []
  let readBytes = 0
  run.files.forEach((file, i) => {
    const at = i * RECORD_BYTES
    if (!file.ok) {
      failures.push({ file: i, code: file.code, message: file.message })
      return
    }
    const { facts } = file
    readBytes += facts.size
    records.set(file.id, at)
    view.setFloat64(at + 32, facts.size)
    view.setFloat64(at + 40, file.newBytes)
    view.setBigInt64(at + 48, facts.mtimeNs)
    view.setBigInt64(at + 56, facts.ctimeNs)
    view.setBigUint64(at + 64, facts.ino)
    view.setBigUint64(at + 72, facts.dev)
    view.setUint8(at + 80, facts.executable ? 1 : 0)
    view.setUint8(at + 81, file.stored ? 1 : 0)
  })
  const { stamp, waitsFor, progress } = run
  const readFiles = run.files.length - failures.length
  return { records, failures, stamp, waitsFor, progress, readFiles, readBytes }
}

export function decodeRun(wire: WireRun): RunResult {
  const view = new DataView(wire.records.buffer, wire.records.byteOffset)
  const files: FileResult[] = []
  for (let at = 0; at < wire.records.length; at += RECORD_BYTES) {
    files.push({
      ok: true,
      id: wire.records.subarray(at, at + ID_BYTES),
      newBytes: view.getFloat64(at + 40),
      stored: view.getUint8(at + 81) === 1,
      facts: {
        size: view.getFloat64(at + 32),
        mtimeNs: view.getBigInt64(at + 48),
        ctimeNs: view.getBigInt64(at + 56),
        ino: view.getBigUint64(at + 64),
        dev: view.getBigUint64(at + 72),
        executable: view.getUint8(at + 80) === 1,
      },
    })
  }
  for (const { file, code, message } of wire.failures) files[file] = { ok: false, code, message }
  return { files, stamp: wire.stamp, waitsFor: wire.waitsFor, progress: wire.progress }
}

/** An error that crosses threads: what structured clone would lose of a CxvError. */
export interface WireError {
  readonly code: ErrorCode | undefined
  readonly message: string
  readonly hint: string | undefined
  readonly data: Readonly<Record<string, unknown>>
  readonly stack: string | undefined
}

export function encodeError(error: unknown): WireError {
  if (error instanceof CxvError) {
    const { code, message, hint, stack } = error
    return { code, message, hint, stack, data: { ...error.data } }
  }
  const known = error instanceof Error ? error : new Error(String(error))
  return { code: undefined, message: known.message, hint: undefined, stack: known.stack, data: {} }
}

export function decodeError(wire: WireError): Error {
  if (wire.code === undefined) {
    const error = new Error(wire.message)
    if (wire.stack !== undefined) error.stack = wire.stack
    return error
  }
  return new CxvError(wire.code, wire.message, {
    data: wire.data,
    ...(wire.hint === undefined ? {} : { hint: wire.hint }),
  })
}

/** Key of an id among what is pending: one byte a character, half of what hex would take. */
export const pendingKey = (kind: ObjectKind, id: Uint8Array): string =>
  (kind === 'chunk' ? 'c' : 'r') +
  Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('latin1')
