import { createHash, hash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { CxvError, equalBytes, isCxvError, systemCode } from '../base/index.ts'
import {
  CHUNK_MAX_BYTES,
  encodeRecipe,
  isCompressedImage,
  type ObjectKind,
  type RecipePart,
} from '../format/index.ts'
import { closeFile, factsOfOpen, type ReadFacts, openNoFollow, readInto } from '../io/index.ts'
import { pixelDataOffset } from './dicom-cut.ts'
import { cutPoint } from './fastcdc.ts'
import { createPackFiles, decodeLocated } from './pack-files.ts'
import { createPackWriter, type PublishedPack, type Sheet } from './pack-writer.ts'
import type { Locator, StatFacts } from './types.ts'

/**
 * What one thread does of `addFiles`: reads, hashes, asks once per batch what is missing, packs.
 * Runs inside a worker or on the main thread; the host is how it speaks to the index.
 */
export interface Adder {
  addRun(paths: readonly string[]): Promise<RunResult>
  /** The stamp up to which all that was stored is published. */
  durableStamp(): number
  finish(): Promise<void>
  /** Gives up the pack that is being filled; those on their way to the disk are waited for. */
  abandon(): Promise<void>
}

/** For each id asked: store it; wait for another thread that stores it; or compare with what is there. */
export type Answer =
  | { readonly state: 'new' }
  | { readonly state: 'pending'; readonly worker: number; readonly stamp: number }
  | { readonly state: 'known'; readonly at: Locator }

export interface AdderHost {
  /** Ids told to be `new` are this adder's to store under this stamp. */
  ask(
    kind: ObjectKind,
    stamp: number,
    ids: readonly Uint8Array[],
    progress: Progress,
  ): Promise<readonly Answer[]>
  /** Called in order; resolves when the pack is indexed. */
  published(pack: PublishedPack): Promise<void>
  /** True once the user has asked to stop. */
  stopped(): boolean
}

/** What was read since the last ask. */
export interface Progress {
  readonly files: number
  readonly bytes: number
}

export interface RunResult {
  readonly files: readonly FileResult[]
  /** Everything of this run was stored under this stamp or an earlier one. */
  readonly stamp: number
  /** Stamps of other adders whose packs hold chunks of this run. */
  readonly waitsFor: ReadonlyMap<number, number>
  /** What was read and not yet told by an ask. */
  readonly progress: Progress
}

export type FileResult =
  | {
      readonly ok: true
      readonly id: Uint8Array
      readonly facts: StatFacts
      readonly newBytes: number
      readonly stored: boolean
    }
  | { readonly ok: false; readonly code: string; readonly message: string }

export const WHOLE_FILE_MAX_BYTES = 1 << 20
/** The window that large files are cut in: room for the largest chunk and more. A sheet holds it. */
const WINDOW_BYTES = 5 << 20
const BATCH_CHUNKS = 4_096
/**
 * Reading and hashing block the thread. After so much it hears which writes have ended, so that the disk gets
 * the next, and what was answered (docs/decisions/0002).
 */
const HEAR_EVERY_BYTES = 1 << 20
const ATTEMPTS = 3

interface Pending {
  readonly id: Uint8Array
  readonly from: number
  readonly to: number
  readonly mayCompress: boolean
  readonly owner: Draft
}

/** A file whose chunks are being stored. */
interface Draft {
  newBytes: number
  /** Something of it was not in the store; not the same as newBytes, for an empty file. */
  stored: boolean
}

/** The file changed while it was read. */
class Changed extends Error {}

/** Packing failed, whichever file was being read: the whole add ends. */
class StoringFailed extends Error {}

export function createAdder(packs: string, host: AdderHost): Adder {
  const files = createPackFiles(packs)
  const data = createPackWriter(packs, 'data', (pack) => host.published(pack))
  const meta = createPackWriter(packs, 'meta', (pack) => host.published(pack))
  /** Read into, while what the one before holds is asked for and stored. */
  let sheet = data.beginSheet()
  let batch: Pending[] = []
  let stamp = 0
  /** The stamp that is asked for and not yet in the writers' hands. */
  let asked: number | undefined
  /** The batch before, on its way to the writers. Its failure is told by the next `settle`. */
  let storing: Promise<{ readonly error: unknown } | undefined> = Promise.resolve(undefined)
  let filesRead = 0
  let bytesRead = 0
  let unheard = 0
  let waitsFor = new Map<number, number>()

  const hear = async (read: number): Promise<void> => {
    unheard += read
    if (unheard < HEAR_EVERY_BYTES) return
    unheard = 0
    await setImmediate()
  }

  const takeProgress = (): Progress => {
    const progress = { files: filesRead, bytes: bytesRead }
    filesRead = 0
    bytesRead = 0
    return progress
  }

  const ask = async (kind: ObjectKind, ids: readonly Uint8Array[]): Promise<readonly Answer[]> => {
    asked = ++stamp
    const answers = await host.ask(kind, stamp, ids, takeProgress())
    for (const answer of answers) {
      if (answer.state !== 'pending') continue
      waitsFor.set(answer.worker, Math.max(answer.stamp, waitsFor.get(answer.worker) ?? 0))
    }
    return answers
  }

  /** Whether the store really holds these bytes: an index is never believed. */
  const holds = (kind: ObjectKind, id: Uint8Array, at: Locator, plain: Uint8Array): boolean => {
    if (at.plainLength !== plain.length) return false
    try {
      const frame = Buffer.allocUnsafe(at.length)
      files.readSync(at.pack, at.offset, frame)
      return equalBytes(decodeLocated(kind, id, at, frame), plain)
    } catch (error) {
      if (isCxvError(error, 'CHUNK_CORRUPT') || isCxvError(error, 'CHUNK_MISSING')) return false
      throw error
    }
  }

  /**
   * Waits for the batch before, then lets this one be asked for and stored while the next is read.
   * @param rest what was read of a large file and is in no batch yet: the next sheet is a window that begins with it
   */
  const turn = async (rest?: Uint8Array): Promise<void> => {
    const failed = await storing
    if (failed !== undefined) throw new StoringFailed('storing failed', { cause: failed.error })
    const full = sheet
    const settling = batch
    batch = []
    sheet = data.beginSheet()
    if (rest !== undefined) sheet.window().set(rest)
    if (settling.length === 0) {
      data.endSheet(full)
      return
    }
    storing = store(settling, full).then(
      () => undefined,
      (error: unknown) => ({ error }),
    )
  }

  /** All that was read is in the writers' hands afterwards. */
  const settle = async (): Promise<void> => {
    await turn()
    await turn()
  }

  /** Asks for the chunks of a sheet, and stores those that are missing. */
  const store = async (settling: readonly Pending[], full: Sheet): Promise<void> => {
    const answers = await ask(
      'chunk',
      settling.map((p) => p.id),
    )
    settling.forEach((pending, i) => {
      const answer = answers[i]
      const { id, from, to, mayCompress, owner } = pending
      if (answer === undefined || answer.state === 'pending') return
      if (answer.state === 'known' && holds('chunk', id, answer.at, full.bytes.subarray(from, to)))
        return
      data.appendRead(full, id, from, to, stamp, mayCompress)
      owner.newBytes += to - from
      owner.stored = true
    })
    data.endSheet(full)
    asked = undefined
    await data.keepUp()
  }

  const push = (owner: Draft, from: number, to: number, mayCompress: boolean): Uint8Array => {
    // By way of a string: a Buffer from native code costs a garbage-collected handle each.
    const id = Buffer.from(hash('sha256', sheet.bytes.subarray(from, to), 'binary'), 'latin1')
    batch.push({ id, from, to, mayCompress, owner })
    return id
  }

  const addSmall = async (fd: number, facts: ReadFacts, draft: Draft): Promise<Uint8Array> => {
    let from = batch.length < BATCH_CHUNKS ? sheet.room(facts.size) : undefined
    if (from === undefined) {
      await turn()
      from = sheet.room(facts.size)
    }
    if (from === undefined) throw new Error('a new sheet has no room for a file')
    const to = from + facts.size
    if (readInto(fd, sheet.bytes.subarray(from, to), 0) !== facts.size) throw new Changed()
    checkUnchanged(fd, facts)
    sheet.keep(facts.size)
    const id = push(draft, from, to, true)
    await hear(facts.size)
    return id
  }

  /** Cuts a file of any size through a window of the buffers. */
  const addLarge = async (
    fd: number,
    facts: ReadFacts,
    draft: Draft,
    reached: (position: number) => void,
  ): Promise<Uint8Array> => {
    await turn(new Uint8Array(0))
    const whole = createHash('sha256')
    const parts: RecipePart[] = []
    let from = 0
    let filled = 0
    let position = 0
    let mayCompress = true
    let pixelsAt: number | undefined
    while (position < facts.size || from < filled) {
      const wanted = Math.min(CHUNK_MAX_BYTES, facts.size - position + (filled - from))
      if (from + wanted > WINDOW_BYTES) {
        await turn(sheet.bytes.subarray(from, filled))
        if (host.stopped()) throw interrupted()
        filled -= from
        from = 0
      }
      while (filled - from < wanted) {
        const n = Math.min(WINDOW_BYTES - filled, facts.size - position, HEAR_EVERY_BYTES)
        const into = sheet.bytes.subarray(filled, filled + n)
        if (readInto(fd, into, position) !== n) throw new Changed()
        whole.update(into)
        filled += n
        position += n
        reached(position)
        await hear(n)
      }
      const window = sheet.bytes.subarray(from, filled)
      if (parts.length === 0) {
        mayCompress = !isCompressedImage(window)
        pixelsAt = pixelDataOffset(window.subarray(0, CHUNK_MAX_BYTES))
      }
      const atPixels = parts.length === 0 ? pixelsAt : undefined
      const length = atPixels ?? cutPoint(sheet.bytes, from, filled)
      parts.push({ id: push(draft, from, from + length, mayCompress), length })
      from += length
    }
    checkUnchanged(fd, facts)
    const id = whole.digest()
    await settle()
    if (parts.length > 1) {
      const body = encodeRecipe(id, { size: facts.size, parts })
      await addRecipe(id, body, draft)
    }
    return id
  }

  const addRecipe = async (id: Uint8Array, body: Uint8Array, draft: Draft): Promise<void> => {
    try {
      const [answer] = await ask('recipe', [id])
      if (answer === undefined || answer.state === 'pending') return
      if (answer.state === 'known' && holds('recipe', id, answer.at, body)) return
      meta.append('recipe', id, body, stamp)
      draft.newBytes += body.length
      draft.stored = true
      await meta.keepUp()
    } catch (cause) {
      throw new StoringFailed('storing failed', { cause })
    } finally {
      asked = undefined
    }
  }

  const addFile = async (path: string, draft: Draft): Promise<FileResult> => {
    // Of a file that is read again only what goes beyond the reading before is news.
    let told = 0
    const reached = (position: number): void => {
      if (position <= told) return
      bytesRead += position - told
      told = position
    }
    for (let attempt = 1; ; attempt++) {
      try {
        const fd = openNoFollow(path)
        try {
          const facts = factsOfOpen(fd)
          if (!facts.isFile) return notAFile(path)
          const small = facts.size <= WHOLE_FILE_MAX_BYTES
          const id = await (small
            ? addSmall(fd, facts, draft)
            : addLarge(fd, facts, draft, reached))
          filesRead++
          reached(facts.size)
          return { ok: true, id, facts, newBytes: 0, stored: false }
        } finally {
          closeFile(fd)
        }
      } catch (error) {
        if (error instanceof StoringFailed) throw error
        const failed = failedFile(path, error)
        if (failed === undefined) throw error
        // What was read of it may stay in the batch: those chunks are what their ids say.
        if (!(error instanceof Changed) || attempt === ATTEMPTS) return failed
      }
    }
  }

  const addAll = async (
    paths: readonly string[],
    drafts: Draft[],
    results: FileResult[],
  ): Promise<void> => {
    try {
      for (const path of paths) {
        if (host.stopped()) throw interrupted()
        const draft = { newBytes: 0, stored: false }
        drafts.push(draft)
        results.push(await addFile(path, draft))
      }
      await settle()
    } catch (error) {
      throw error instanceof StoringFailed ? error.cause : error
    }
  }

  return {
    async addRun(paths) {
      waitsFor = new Map()
      const drafts: Draft[] = []
      const results: FileResult[] = []
      await addAll(paths, drafts, results)
      const withBytes = results.map((result, i) =>
        result.ok ? { ...result, ...drafts[i] } : result,
      )
      return { files: withBytes, stamp, waitsFor, progress: takeProgress() }
    },
    durableStamp: () =>
      Math.min(
        data.pendingSince() ?? Infinity,
        meta.pendingSince() ?? Infinity,
        asked ?? stamp + 1,
      ) - 1,
    async finish() {
      await data.finish()
      await meta.finish()
      files.close()
    },
    async abandon() {
      await storing
      await data.abandon()
      await meta.abandon()
      files.close()
    },
  }
}

function checkUnchanged(fd: number, before: ReadFacts): void {
  const now = factsOfOpen(fd)
  if (
    now.size !== before.size ||
    now.mtimeNs !== before.mtimeNs ||
    now.ctimeNs !== before.ctimeNs
  ) {
    throw new Changed()
  }
}

const interrupted = (): CxvError =>
  new CxvError('INTERRUPTED', 'stopped', {
    hint: 'run the same command again: what is already stored is kept',
  })

const notAFile = (path: string): FileResult => ({
  ok: false,
  code: 'PATH_UNSUPPORTED',
  message: `${path} is not a regular file`,
})

/** The result for an error that is this file's alone; undefined for one that stops the whole add. */
function failedFile(path: string, error: unknown): FileResult | undefined {
  if (error instanceof Changed) {
    return { ok: false, code: 'FILE_CHANGED', message: `${path} changed while it was read` }
  }
  const cause = error instanceof CxvError ? error.cause : error
  switch (systemCode(cause)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return { ok: false, code: 'PATH_NOT_FOUND', message: `${path} is not there any more` }
    case 'ELOOP':
      return { ok: false, code: 'PATH_UNSUPPORTED', message: `${path} is a symbolic link` }
    case 'EACCES':
    case 'EPERM':
    case 'EIO':
    case 'EISDIR':
      return {
        ok: false,
        code: 'FILE_SYSTEM',
        message: `${path} cannot be read: ${(cause as Error).message}`,
      }
    default:
      return isCxvError(error, 'TOO_LARGE')
        ? { ok: false, code: error.code, message: `${path}: ${error.message}` }
        : undefined
  }
}
