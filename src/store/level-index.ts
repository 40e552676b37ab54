import {
  type Context,
  CxvError,
  fromUtf8,
  packId,
  type PackId,
  toHex,
  utf8,
} from '../base/index.ts'
import {
  FRAME_HEADER_BYTES,
  frameLength,
  type ObjectKind,
  type PackEntry,
  type PackKind,
  RECIPE_MAX_BYTES,
} from '../format/index.ts'
import {
  acquireLock,
  crashPoint,
  type Lock,
  lstatIfAny,
  makeFolder,
  pathExists,
  removePath,
  setAside,
  writeFileAtomic,
} from '../io/index.ts'
import { levelFailure } from './level-errors.ts'
import { badFolder, indexFolder } from './paths.ts'
import type { CacheSpace, Locator } from './types.ts'

/** What the index knows of a pack file. */
export interface PackRow {
  readonly id: PackId
  readonly number: number
  readonly sizeBytes: number
  readonly kind: PackKind
  /** Its table could not be read: the frames came from a forward scan. */
  readonly damaged: boolean
  readonly chunks: number
  readonly recipes: number
}

/** Id -> locator over LevelDB. A cache: packs are the truth. Exclusive to one process while open. */
export interface ChunkIndex {
  packs(): ReadonlyMap<PackId, PackRow>
  /** @param ids 32 bytes each. @returns in the same order */
  locate(kind: ObjectKind, ids: readonly Uint8Array[]): Promise<readonly (Locator | undefined)[]>
  /**
   * One atomic batch, after the pack is durable. Its frames take the place of older ones.
   * @param passed those of the frames that do not: another place of them is known and stays
   */
  addPack(
    pack: Pick<PackRow, 'id' | 'sizeBytes' | 'kind' | 'damaged'>,
    entries: readonly PackEntry[],
    passed?: ReadonlySet<PackEntry>,
  ): Promise<void>
  /** Points one id at another frame of a known pack. */
  repoint(kind: ObjectKind, id: Uint8Array, to: Locator): Promise<void>
  /** True when a rebuild was begun and not ended: what is here is not all there is. */
  readonly rebuilding: boolean
  /** Forgets every pack and locator; the cache space stays. */
  beginRebuild(): Promise<void>
  endRebuild(): Promise<void>
  readonly cache: CacheSpace
  close(): Promise<void>
}

const VERSION = '1'
const META_VERSION = 'mversion'
const META_REBUILDING = 'mrebuilding'
const CHUNK = 0x63
const RECIPE = 0x72
const PACK = 0x70
const CACHE_PREFIX = 'x'
const LOCATOR_BYTES = 16
const PACK_ROW_BYTES = 48
const BATCH = 8_192
/** What an iterator over the cache holds at a time. */
const ENTRIES_BYTES = 1 << 20
const MAX_FRAME_BYTES = FRAME_HEADER_BYTES + RECIPE_MAX_BYTES

/** On Node, `level` is classic-level, which has more than its types tell. */
type Db = import('level').Level<Uint8Array, Uint8Array> & {
  compactRange(from: Uint8Array, to: Uint8Array): Promise<void>
}

async function openLevel(path: string): Promise<Db> {
  const { Level } = await import('level')
  const db = new Level(path, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    // Ids do not compress; larger memtables mean fewer files on a big add. Bounded: 2 x 8 + 16 MiB.
    compression: false,
    writeBufferSize: 8 << 20,
    cacheSize: 16 << 20,
  }) as Db
  await db.open()
  return db
}

export interface OpenIndexOptions {
  readonly waitMs: number
  /** Called while another process holds the index. */
  readonly onWait: (waitedMs: number) => Promise<void>
  readonly now: () => number
  /** Told where a broken index lies now: what only it held (the stage, the stat cache) is lost to the new one. */
  readonly onMovedAside?: (to: string) => void
  /** The index was empty: there was none. */
  readonly onNew?: () => void
}

/**
 * Opens the index, waiting for another process that has it. A damaged one is moved to `bad/` and a new
 * one begun, for the caller to fill from the packs; the stage, which no pack holds, is then gone. So a
 * full disk or a lack of rights must not pass for damage.
 * @throws CxvError INDEX_BUSY when the other process keeps it longer than `waitMs`, NO_SPACE, FILE_SYSTEM
 */
export async function openIndex(folder: string, options: OpenIndexOptions): Promise<ChunkIndex> {
  const path = indexFolder(folder)
  const mark = `${path}.broken`
  const started = options.now()
  let movedAside = false
  for (;;) {
    let db: Db | undefined
    try {
      // Opened while it is moved, it would be made partly in the old folder and partly in the new.
      if (pathExists(gateOf(folder))) (await enterGate(folder, options)).release()
      makeFolder(path)
      const opened = lstatIfAny(path)?.ino
      db = await openLevel(path)
      const fresh = !(await hasAnything(db))
      const marked = pathExists(mark) || !(await hasVersion(db))
      // Looked at last: the mark goes after the folder has been moved.
      const moved = lstatIfAny(path)?.ino !== opened
      if (!marked && !moved) {
        if (fresh) options.onNew?.()
        return await createIndex(db, path, mark)
      }
      await db.close()
      if (marked) await moveAside(folder, mark, options)
    } catch (error) {
      await db?.close().catch(() => undefined)
      const failure = levelFailure(error, path)
      if (failure === 'locked') {
        const waited = options.now() - started
        if (waited >= options.waitMs) throw busy(path, waited)
        await options.onWait(waited)
        continue
      }
      if (movedAside || failure !== 'damaged') throw failure instanceof CxvError ? failure : error
      movedAside = true
      await moveAside(folder, mark, options)
    }
  }
}

const gateOf = (folder: string): string => `${indexFolder(folder)}.lock`

function enterGate(folder: string, options: OpenIndexOptions): Promise<Lock> {
  const quiet: Context = {
    emit: () => undefined,
    signal: new AbortController().signal,
    now: options.now,
    random: (length) => globalThis.crypto.getRandomValues(new Uint8Array(length)),
  }
  return acquireLock(quiet, gateOf(folder), 'set a broken index aside', options.waitMs)
}

/** Of several processes that find the index broken, only one may move it: the next one's is in use. */
async function moveAside(folder: string, mark: string, options: OpenIndexOptions): Promise<void> {
  const lock = await enterGate(folder, options)
  const path = indexFolder(folder)
  let db: Db | undefined
  try {
    try {
      db = await openLevel(path)
      if (!pathExists(mark) && (await hasVersion(db))) return
    } catch (error) {
      const failure = levelFailure(error, path)
      if (failure === 'locked') return
      if (failure !== 'damaged' && !pathExists(mark)) throw error
    }
    // While it is open, if it can be: nobody else can open it before it has its new place.
    const to = setAside(path, badFolder(folder))
    removePath(mark)
    options.onMovedAside?.(to)
  } finally {
    await db?.close()
    lock.release()
  }
}

const busy = (path: string, waitedMs: number): CxvError =>
  new CxvError('INDEX_BUSY', 'another cxv process is using this repository', {
    hint: 'wait for it to end, then run the same command again',
    data: { path, waitedMs },
  })

async function hasAnything(db: Db): Promise<boolean> {
  const [first] = await db.keys({ limit: 1 }).all()
  return first !== undefined
}

/** True for an index of this version, which a new and empty one becomes. */
async function hasVersion(db: Db): Promise<boolean> {
  const stored = await db.get(utf8(META_VERSION))
  if (stored !== undefined) return fromUtf8(stored) === VERSION
  if (await hasAnything(db)) return false
  await db.put(utf8(META_VERSION), utf8(VERSION))
  return true
}

const keyOf = (kind: ObjectKind, id: Uint8Array): Uint8Array => {
  const key = new Uint8Array(33)
  key[0] = kind === 'chunk' ? CHUNK : RECIPE
  key.set(id, 1)
  return key
}

function packKey(number: number): Uint8Array {
  const key = new Uint8Array(5)
  key[0] = PACK
  new DataView(key.buffer).setUint32(1, number)
  return key
}

function encodeLocator(pack: number, offset: number, length: number, plain: number): Uint8Array {
  const value = new Uint8Array(LOCATOR_BYTES)
  const view = new DataView(value.buffer)
  view.setUint32(0, pack, true)
  view.setUint32(4, offset, true)
  view.setUint32(8, length, true)
  view.setUint32(12, plain, true)
  return value
}

function encodePackRow(row: PackRow): Uint8Array {
  const value = new Uint8Array(PACK_ROW_BYTES)
  value.set(Buffer.from(row.id, 'hex'))
  const view = new DataView(value.buffer)
  view.setUint32(32, row.sizeBytes, true)
  view.setUint8(36, row.kind === 'data' ? 1 : 2)
  view.setUint8(37, row.damaged ? 1 : 0)
  view.setUint32(40, row.chunks, true)
  view.setUint32(44, row.recipes, true)
  return value
}

function decodePackRow(number: number, value: Uint8Array): PackRow | undefined {
  if (value.length !== PACK_ROW_BYTES) return undefined
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  return {
    id: packId(toHex(value.subarray(0, 32))),
    number,
    sizeBytes: view.getUint32(32, true),
    kind: view.getUint8(36) === 1 ? 'data' : 'meta',
    damaged: view.getUint8(37) !== 0,
    chunks: view.getUint32(40, true),
    recipes: view.getUint32(44, true),
  }
}

interface Packs {
  readonly byId: Map<PackId, PackRow>
  readonly byNumber: Map<number, PackRow>
  next: number
}

async function loadPacks(db: Db): Promise<Packs> {
  const packs: Packs = { byId: new Map(), byNumber: new Map(), next: 1 }
  for await (const [key, value] of db.iterator({
    gte: Uint8Array.of(PACK),
    lt: Uint8Array.of(PACK + 1),
  })) {
    if (key.length !== 5) continue
    const number = new DataView(key.buffer, key.byteOffset).getUint32(1)
    const row = decodePackRow(number, value)
    packs.next = Math.max(packs.next, number + 1)
    if (row === undefined) continue
    packs.byId.set(row.id, row)
    packs.byNumber.set(number, row)
  }
  return packs
}

async function createIndex(db: Db, path: string, mark: string): Promise<ChunkIndex> {
  const packs = await loadPacks(db)
  /** LevelDB finds some damage only on reading: the next open then starts anew. */
  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      const failure = levelFailure(error, path)
      if (failure !== 'damaged') throw failure instanceof CxvError ? failure : error
      writeFileAtomic(mark, new Uint8Array())
      throw new CxvError('FORMAT_INVALID', 'the index of this repository is damaged', {
        hint: 'run the same command again: the index is rebuilt from the packs first',
        cause: error,
      })
    }
  }
  const toLocator = (value: Uint8Array | undefined): Locator | undefined => {
    if (value?.length !== LOCATOR_BYTES) return undefined
    const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
    const row = packs.byNumber.get(view.getUint32(0, true))
    if (row === undefined) return undefined
    const offset = view.getUint32(4, true)
    const length = view.getUint32(8, true)
    // A damaged pack may be shorter than its frames once were.
    if (offset + length > row.sizeBytes || length > MAX_FRAME_BYTES) return undefined
    return { pack: row.id, offset, length, plainLength: view.getUint32(12, true) }
  }

  return {
    packs: () => packs.byId,
    async locate(kind, ids) {
      if (packs.byId.size === 0) return ids.map(() => undefined)
      const found: (Locator | undefined)[] = []
      for (let at = 0; at < ids.length; at += BATCH) {
        const keys = ids.slice(at, at + BATCH).map((id) => keyOf(kind, id))
        const values = await guarded(() => db.getMany(keys))
        for (const value of values) found.push(toLocator(value))
      }
      return found
    },
    async addPack(pack, entries, passed) {
      const before = packs.byId.get(pack.id)
      const number = before?.number ?? packs.next++
      const chunks = entries.filter((e) => e.kind === 'chunk').length
      const row: PackRow = { ...pack, number, chunks, recipes: entries.length - chunks }
      // A chained batch hands each entry to LevelDB at once: a third of an array's garbage.
      const batch = db.batch()
      for (const e of entries) {
        if (passed?.has(e) === true) continue
        batch.put(
          keyOf(e.kind, e.id),
          encodeLocator(number, e.offset, frameLength(e), e.plainLength),
        )
      }
      batch.put(packKey(number), encodePackRow(row))
      await guarded(() => batch.write())
      crashPoint('index')
      packs.byId.set(row.id, row)
      packs.byNumber.set(number, row)
    },
    async repoint(kind, id, to) {
      const row = packs.byId.get(to.pack)
      if (row === undefined) throw new Error(`no such pack: ${to.pack}`)
      const value = encodeLocator(row.number, to.offset, to.length, to.plainLength)
      await guarded(() => db.put(keyOf(kind, id), value))
    },
    rebuilding: (await db.get(utf8(META_REBUILDING))) !== undefined,
    async beginRebuild() {
      await guarded(() => db.put(utf8(META_REBUILDING), Uint8Array.of(1)))
      for (const prefix of [PACK, CHUNK, RECIPE]) {
        await guarded(() => db.clear({ gte: Uint8Array.of(prefix), lt: Uint8Array.of(prefix + 1) }))
      }
      packs.byId.clear()
      packs.byNumber.clear()
    },
    endRebuild: () => guarded(() => db.del(utf8(META_REBUILDING))),
    cache: createCacheSpace(db, guarded),
    close: () => db.close(),
  }
}

type Guarded = <T>(work: () => Promise<T>) => Promise<T>

// From Node's pool: an array of its own for each of 100,000 keys is a burden to the garbage collector.
const cacheKey = (key: string): Uint8Array => Buffer.from(CACHE_PREFIX + key)

function createCacheSpace(db: Db, guarded: Guarded): CacheSpace {
  return {
    get: (key) => guarded(() => db.get(cacheKey(key))),
    async getMany(keys) {
      const out: (Uint8Array | undefined)[] = []
      for (let at = 0; at < keys.length; at += BATCH) {
        const part = keys.slice(at, at + BATCH).map(cacheKey)
        for (const value of await guarded(() => db.getMany(part))) out.push(value)
      }
      return out
    },
    async *entries(prefix) {
      const from = cacheKey(prefix)
      // Keys as text from LevelDB itself: as bytes they cost an array and a decoding each.
      const iterator = db.iterator<string, Uint8Array>({
        gte: fromUtf8(from),
        lt: fromUtf8(afterPrefix(from)),
        keyEncoding: 'utf8',
        // By default a call ends after 16 KiB: of small entries 130 instead of the number asked for.
        highWaterMarkBytes: ENTRIES_BYTES,
      })
      const cut = CACHE_PREFIX.length + prefix.length
      try {
        for (;;) {
          const batch = await guarded(() => iterator.nextv(2_000))
          if (batch.length === 0) return
          for (const entry of batch) entry[0] = entry[0].slice(cut)
          yield batch
        }
      } finally {
        await iterator.close()
      }
    },
    async write(changes) {
      const batch = db.batch()
      for (const [key, value] of changes) {
        if (value === undefined) batch.del(cacheKey(key))
        else batch.put(cacheKey(key), value)
      }
      // The stage lives here: what `add` reported must survive a power cut.
      if (batch.length > 0) await guarded(() => batch.write({ sync: true }))
      else await batch.close()
    },
    async compact(prefix) {
      const from = cacheKey(prefix)
      await guarded(() => db.compactRange(from, afterPrefix(from)))
    },
  }
}

/** The first key after all that start with these bytes. */
function afterPrefix(prefix: Uint8Array): Uint8Array {
  // Not slice(): a Buffer's is no copy.
  const out = new Uint8Array(prefix)
  for (let i = out.length - 1; i >= 0; i--) {
    if (out[i]! < 0xff) {
      out[i]!++
      return out.subarray(0, i + 1)
    }
  }
  throw new Error('no key follows this prefix')
}
