import { createHash } from 'node:crypto'
import { dirname, join } from 'node:path'
import { type Context, CxvError, isCxvError, systemCode, toHex } from '../base/index.ts'
import {
  acquireLock,
  entriesIn,
  fileFactsIfAny,
  type FileFacts,
  fileSystemError,
  makeFolder,
  makeOneFolder,
  openForReading,
  pathExists,
  pathThroughFolders,
  publishFile,
  removeFileIfAny,
  removeFolderIfEmpty,
} from '../io/index.ts'
import { checkKey, checkPrefix, isKey } from './key.ts'
import type { Backend, ByteRange, Key, ObjectInfo } from './types.ts'

/** Up to here the etag is the hash of the bytes (refs are swapped by it); above, facts of the file. */
const HASHED_MAX_BYTES = 64 << 10
const OBJECT_MAX_BYTES = 72 << 20
/** Temporaries and locks: no key begins with a dot. */
const TEMPORARY_FOLDER = '.tmp'
const LOCK_FOLDER = '.lock'
const LOCK_WAIT_MS = 60_000
const PARENT_ATTEMPTS = 100
const LEFTOVER_AGE_MS = 24 * 3600 * 1000

const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const factsEtag = (facts: FileFacts): string =>
  `f-${facts.size.toString(16)}-${facts.ino.toString(16)}-${Math.round(facts.mtimeMs * 1000).toString(16)}`

const etagOf = (facts: FileFacts, bytes: Uint8Array): string =>
  facts.size <= HASHED_MAX_BYTES ? `h-${hash(bytes).slice(0, 40)}` : factsEtag(facts)

/**
 * A folder as a remote. A put is a temporary, fsync, rename, fsync of the folder; a conditional put
 * holds a lock file of its key. Nothing is read or written through a symlink below the root.
 * @param root absolute path; made by the first put
 */
export function createFileBackend(ctx: Context, root: string, url = `file://${root}`): Backend {
  let temporaries = 0
  let cleaned = false

  const locate = (key: Key): { path: string; state: 'folders' | 'absent' } => {
    checkKey(key)
    const parts = key.split('/')
    const state = pathThroughFolders(root, parts.slice(0, -1))
    if (state === 'symlink') throw linkInTheWay(url, key)
    return { path: join(root, ...parts), state }
  }

  const readAt = async (key: Key, range: ByteRange | undefined, into?: Uint8Array) => {
    const { path, state } = locate(key)
    const file = state === 'absent' ? undefined : await openForReading(path)
    if (file === undefined) return undefined
    try {
      const { facts } = file
      const offset = range?.offset ?? 0
      const length = range?.length ?? facts.size
      if (length > OBJECT_MAX_BYTES) throw tooLarge(url, key, length)
      if (offset < 0 || length < 0 || offset + length > facts.size) {
        throw new CxvError(
          'REMOTE_CORRUPT',
          `${key} of ${url} has ${facts.size} bytes; ${offset}+${length} were asked for`,
        )
      }
      const bytes = await file.read(offset, length, into)
      const whole = length === facts.size || facts.size > HASHED_MAX_BYTES
      return { bytes, etag: etagOf(facts, whole ? bytes : await file.read(0, facts.size)) }
    } catch (error) {
      if (error instanceof RangeError) {
        throw new CxvError('REMOTE_CORRUPT', `${key} of ${url} changed while it was read`, {
          cause: error,
        })
      }
      throw fileSystemError(error, path)
    } finally {
      await file.close()
    }
  }

  const infoOf = async (key: Key, path: string): Promise<ObjectInfo | undefined> => {
    const facts = await fileFactsIfAny(path)
    if (facts === undefined) return undefined
    if (facts.size > HASHED_MAX_BYTES) return { key, size: facts.size, etag: factsEtag(facts) }
    const got = await readAt(key, undefined)
    return got && { key, size: got.bytes.length, etag: got.etag }
  }

  async function* walk(folder: string, key: string, prefix: string): AsyncGenerator<ObjectInfo> {
    for (const entry of await entriesIn(folder)) {
      ctx.signal.throwIfAborted()
      const name = key === '' ? entry.name : `${key}/${entry.name}`
      if (entry.kind === 'other' || !isKey(name)) continue
      const path = join(folder, entry.name)
      if (entry.kind === 'folder') {
        if (`${name}/`.startsWith(prefix) || prefix.startsWith(`${name}/`)) {
          yield* walk(path, name, prefix)
        }
      } else if (name.startsWith(prefix)) {
        const info = await infoOf(name, path)
        if (info !== undefined) yield info
      }
    }
  }

  const writeKey = async (key: Key, body: Uint8Array): Promise<ObjectInfo> => {
    const path = join(root, ...key.split('/'))
    try {
      await cleanOnce()
      const temp = join(
        root,
        TEMPORARY_FOLDER,
        `${process.pid}-${++temporaries}-${toHex(ctx.random(6))}`,
      )
      // delete() removes folders that became empty, so one may vanish between making it and the rename.
      for (let attempt = 1; ; attempt++) {
        try {
          await makeParents(key)
          const facts = await publishFile(temp, path, body)
          return { key, size: body.length, etag: etagOf(facts, body) }
        } catch (error) {
          if (systemCode(error) !== 'ENOENT' || attempt === PARENT_ATTEMPTS) throw error
        }
      }
    } catch (error) {
      throw fileSystemError(error, path)
    }
  }

  const makeParents = async (key: Key): Promise<void> => {
    let path = root
    for (const part of key.split('/').slice(0, -1)) {
      path = join(path, part)
      await makeOneFolder(path)
    }
    if (pathThroughFolders(root, key.split('/').slice(0, -1)) === 'symlink') {
      throw linkInTheWay(url, key)
    }
  }

  const cleanOnce = async (): Promise<void> => {
    if (cleaned) return
    cleaned = true
    makeFolder(root)
    const folder = join(root, TEMPORARY_FOLDER)
    if (await makeOneFolder(folder)) return
    if (pathThroughFolders(root, [TEMPORARY_FOLDER]) !== 'folders') {
      throw linkInTheWay(url, TEMPORARY_FOLDER)
    }
    for (const entry of await entriesIn(folder)) {
      const facts = await fileFactsIfAny(join(folder, entry.name))
      if (facts !== undefined && ctx.now() - facts.mtimeMs > LEFTOVER_AGE_MS) {
        await removeFileIfAny(join(folder, entry.name))
      }
    }
  }

  const put: Backend['put'] = async (key, body, options) => {
    checkKey(key)
    options?.signal?.throwIfAborted()
    if (body.length > OBJECT_MAX_BYTES) throw tooLarge(url, key, body.length)
    const expected = options?.ifMatch
    if (expected === undefined) return writeKey(key, body)
    const lockPath = join(root, LOCK_FOLDER, hash(Buffer.from(key)))
    if (pathThroughFolders(root, [LOCK_FOLDER]) === 'symlink') throw linkInTheWay(url, LOCK_FOLDER)
    const lock = await acquireLock(ctx, lockPath, `write ${key}`, LOCK_WAIT_MS)
    try {
      const { path, state } = locate(key)
      const now = state === 'absent' ? undefined : await infoOf(key, path)
      if ((now?.etag ?? null) !== expected) {
        throw new CxvError('PRECONDITION_FAILED', `${key} of ${url} was changed by someone else`, {
          data: { key, expected, actual: now?.etag ?? null },
        })
      }
      return await writeKey(key, body)
    } finally {
      lock.release()
    }
  }

  const remove: Backend['delete'] = async (key, options) => {
    options?.signal?.throwIfAborted()
    const { path, state } = locate(key)
    if (state === 'absent' || !(await removeFileIfAny(path))) return
    for (let folder = dirname(path); folder !== root; folder = dirname(folder)) {
      if (!(await removeFolderIfEmpty(folder))) break
    }
  }

  return {
    url,
    caps: { compareAndSwap: true, write: true },
    get: async (key, range, options) => {
      options?.signal?.throwIfAborted()
      return readAt(key, range, options?.into)
    },
    stat: async (key, options) => {
      options?.signal?.throwIfAborted()
      const { path, state } = locate(key)
      return state === 'absent' ? undefined : infoOf(key, path)
    },
    file(key) {
      const { path, state } = locate(key)
      return state === 'absent' || !pathExists(path) ? undefined : path
    },
    async *list(prefix, options) {
      checkPrefix(prefix)
      for await (const info of walk(root, '', prefix)) {
        options?.signal?.throwIfAborted()
        yield info
      }
    },
    put: (key, body, options) => writing(url, () => put(key, body, options)),
    delete: (key, options) => writing(url, () => remove(key, options)),
    close: () => Promise.resolve(),
  }
}

const linkInTheWay = (url: string, key: string): CxvError =>
  new CxvError('REMOTE_CORRUPT', `${key} of ${url} leads through a symlink or a file`, {
    hint: 'a remote holds plain folders and files only: look at that folder',
    data: { key },
  })

const tooLarge = (url: string, key: string, size: number): CxvError =>
  new CxvError('TOO_LARGE', `${key} of ${url} has ${size} bytes`, {
    data: { key, size, maxBytes: OBJECT_MAX_BYTES },
  })

const DENIED: readonly unknown[] = ['EACCES', 'EPERM', 'EROFS']

/** @throws CxvError REMOTE_READ_ONLY where the system does not let this user write */
async function writing<T>(url: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const code = isCxvError(error, 'FILE_SYSTEM') ? error.data?.['system'] : systemCode(error)
    if (!DENIED.includes(code)) throw error
    throw new CxvError('REMOTE_READ_ONLY', `${url} cannot be written (${String(code)})`, {
      hint: 'ask its owner for the right to write there, or push to another remote',
      data: { url, system: code },
      cause: error,
    })
  }
}
