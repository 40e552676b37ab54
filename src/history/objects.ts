import { join } from 'node:path'
import { type CxvError, isCxvError } from '../base/index.ts'
import { lstatIfAny, namesIn, readRangeSync, systemNow, writeFileAtomic } from '../io/index.ts'
import { checkDeltaChain, type DeltaEntry } from './deltas.ts'
import { createDeltaReader } from './git.ts'
import { damaged, type GitObject, type NewObject, objectId, type Oid } from './git-objects.ts'
import {
  decodePackIndex,
  encodePack,
  encodePackIndex,
  entryHead,
  type IndexedObject,
  indexEntries,
  inflateExactly,
  MAX_PACK_BYTES,
  type PackedObject,
  packObject,
  type PackIndex,
  scanPack,
} from './git-pack.ts'
import { readLoose, writeLoose } from './loose.ts'
import { removeLeftovers, smallPacks } from './repack.ts'

/** The objects of one git folder: loose files and packs, as gitrepository-layout(5) lays them out. */
export interface Objects {
  /** Checked against its id. @throws FORMAT_INVALID when it is absent or damaged */
  read(oid: Oid): Promise<GitObject>
  find(oid: Oid): Promise<GitObject | undefined>
  has(oid: Oid): boolean
  /** As it lies, or would lie, in a pack. */
  packed(oid: Oid): Promise<PackedObject>
  /** Ids that begin with these hex digits, at most `limit`. */
  withPrefix(prefix: string, limit: number): readonly Oid[]
  /** Durable when it returns; what is there already is not written again. */
  write(objects: readonly NewObject[], onBytes?: (bytes: number) => void): void
  /** Adds a pack whose every object was checked. Durable when it returns. */
  addPack(pack: Uint8Array, entries: readonly IndexedObject[]): void
}

interface Pack {
  readonly path: string
  readonly size: number
  readonly index: PackIndex
}

const MAX_INDEX_BYTES = 256 << 20

export function openObjects(folder: string): Objects {
  const packFolder = join(folder, 'objects', 'pack')
  let packs = new Map<string, Pack>()
  /** Indexes of packs that cannot be read at all: `fsck` names them. */
  const unreadable = new Set<string>()

  /** @returns whether there is a pack that was not known, or one less. */
  function reload(): boolean {
    const names = namesIn(packFolder).filter(
      (name) => /^pack-[0-9a-f]{40}\.idx$/.test(name) && !unreadable.has(name),
    )
    if (names.length === packs.size && names.every((name) => packs.has(name))) return false
    const next = new Map<string, Pack>()
    for (const name of names) {
      const pack = packs.get(name) ?? openPack(join(packFolder, name))
      if (pack !== undefined) next.set(name, pack)
      else unreadable.add(name)
    }
    packs = next
    return true
  }

  /** Where the object lies; more than once when several packs have it. */
  function* places(oid: Oid): Generator<Located> {
    for (const pack of packs.values()) {
      const place = findIn(pack, oid)
      if (place !== undefined) yield { pack, ...place }
    }
  }
  const locate = (oid: Oid): Located | undefined => {
    const [first] = places(oid)
    return first
  }

  const readDelta = createDeltaReader(folder)

  async function unpack(
    oid: Oid,
    entry: Located & { readonly bytes: Uint8Array },
  ): Promise<GitObject> {
    const head = entryHead(entry.bytes, 0)
    if (head.type === undefined) {
      checkDeltaChain(deltaEntry(entry, locate))
      return readDelta(oid)
    }
    const { bytes } = inflateExactly(entry.bytes.subarray(head.bodyAt), head.size)
    return { type: head.type, bytes }
  }

  const loosePath = (oid: Oid): string => join(folder, 'objects', oid.slice(0, 2), oid.slice(2))

  /** The object at a place, checked against its id. @throws FORMAT_INVALID */
  async function readAt(
    oid: Oid,
    at: Located,
  ): Promise<(GitObject & { readonly entry: Uint8Array | undefined }) | undefined> {
    const bytes = readRangeSync(at.pack.path, at)
    if (bytes === undefined) return undefined
    const object = await unpack(oid, { ...at, bytes })
    checkId(oid, object)
    return { ...object, entry: entryHead(bytes, 0).type === undefined ? undefined : bytes }
  }

  /**
   * The first sound copy. `entry`: as it lies in a pack, when it is there whole.
   * @throws FORMAT_INVALID when there are copies and none is sound
   */
  async function firstSound(
    oid: Oid,
  ): Promise<(GitObject & { readonly entry?: Uint8Array | undefined }) | undefined> {
    let failure: CxvError | undefined
    for (let tries = 0; tries < 5; tries++) {
      for (const at of places(oid)) {
        try {
          const object = await readAt(oid, at)
          if (object !== undefined) return object
        } catch (error) {
          if (!isCxvError(error, 'FORMAT_INVALID')) throw error
          failure ??= error
        }
      }
      // Another process added a pack, or git replaced the packs by one.
      if (!reload()) break
    }
    try {
      const loose = readLoose(loosePath(oid))
      if (loose !== undefined) checkId(oid, loose)
      if (loose !== undefined) return loose
    } catch (error) {
      if (!isCxvError(error, 'FORMAT_INVALID')) throw error
      failure ??= error
    }
    if (failure !== undefined) throw failure
    return undefined
  }

  async function find(oid: Oid): Promise<GitObject | undefined> {
    const found = await firstSound(oid)
    return found === undefined ? undefined : { type: found.type, bytes: found.bytes }
  }

  async function read(oid: Oid): Promise<GitObject> {
    const object = await find(oid)
    if (object === undefined) throw missingObject(oid)
    return object
  }

  const present = (oid: Oid): boolean =>
    locate(oid) !== undefined || lstatIfAny(loosePath(oid)) !== undefined

  /** @returns the pack's path without its ending */
  function addPack(pack: Uint8Array, entries: readonly IndexedObject[]): string {
    const sum = pack.subarray(pack.length - 20)
    const path = join(packFolder, `pack-${Buffer.from(sum).toString('hex')}`)
    // The index makes the pack visible, so it comes last.
    writeFileAtomic(`${path}.pack`, pack, 0o444)
    writeFileAtomic(`${path}.idx`, encodePackIndex(entries, sum), 0o444)
    reload()
    return path
  }

  /** One pack for many small ones. Readers that had those find the objects in the new one. */
  function repack(): void {
    const small = smallPacks(packFolder)
    if (small === undefined) return
    small.remove(addPack(encodePack(small.objects), indexEntries(small.objects)))
    removeLeftovers(packFolder, systemNow())
    reload()
  }

  return {
    read,
    find,
    has: (oid) => present(oid) || (reload() && present(oid)),
    async packed(oid) {
      const found = await firstSound(oid)
      if (found === undefined) throw missingObject(oid)
      return found.entry === undefined ? packObject(oid, found) : { oid, entry: found.entry }
    },
    withPrefix(prefix, limit) {
      reload()
      const found = new Set<Oid>()
      for (const { index } of packs.values()) {
        for (let i = index.firstNotBelow(prefix); i < index.count && found.size < limit; i++) {
          const oid = index.oidAt(i)
          if (!oid.startsWith(prefix)) break
          found.add(oid)
        }
      }
      for (const rest of namesIn(join(folder, 'objects', prefix.slice(0, 2)))) {
        const oid = prefix.slice(0, 2) + rest
        if (found.size >= limit) break
        if (/^[0-9a-f]{40}$/.test(oid) && oid.startsWith(prefix)) found.add(oid)
      }
      return [...found].sort()
    },
    write(objects, onBytes) {
      reload()
      const fresh = new Map(objects.filter(({ oid }) => !present(oid)).map((o) => [o.oid, o]))
      const [only] = fresh.values()
      if (only === undefined) return
      if (fresh.size === 1) return writeLoose(loosePath(only.oid), packFolder, only)
      const packed = [...fresh.values()].map((object) => {
        onBytes?.(object.bytes.length)
        return packObject(object.oid, object)
      })
      addPack(encodePack(packed), indexEntries(packed))
      repack()
    },
    addPack(pack, entries) {
      addPack(pack, entries)
      repack()
    },
  }
}

const missingObject = (oid: Oid): CxvError => damaged(`object ${oid} of the history is missing`)

function checkId(oid: Oid, { type, bytes }: GitObject): void {
  if (objectId(type, bytes) !== oid) {
    throw damaged(`object ${oid} of the history does not match its id`)
  }
}

interface Located {
  readonly pack: Pack
  readonly start: number
  readonly end: number
}

function openPack(indexPath: string): Pack | undefined {
  const path = indexPath.replace(/idx$/, 'pack')
  const stat = lstatIfAny(path)
  const bytes = readRangeSync(indexPath, undefined, MAX_INDEX_BYTES)
  if (stat === undefined || bytes === undefined) return undefined
  const size = Number(stat.size)
  // Offsets have 31 bits; a pack of this size is none of cxv's.
  if (size > 4 * MAX_PACK_BYTES - 1) throw damaged(`${path} is too large for a pack of the history`)
  const index = indexOf(path, bytes, size)
  return index && { path, size, index }
}

/** An index that points astray has the object no more than one that does not name it. */
function findIn({ index }: Pack, oid: Oid): ReturnType<PackIndex['find']> {
  try {
    return index.find(oid)
  } catch (error) {
    if (!isCxvError(error, 'FORMAT_INVALID')) throw error
    return undefined
  }
}

/** A damaged index is made anew in memory from its pack; without a sound one the pack is as if it were absent. */
function indexOf(path: string, bytes: Uint8Array, size: number): PackIndex | undefined {
  try {
    return decodePackIndex(bytes, size)
  } catch (error) {
    if (!isCxvError(error, 'FORMAT_INVALID')) throw error
    try {
      const pack = readRangeSync(path, undefined, MAX_PACK_BYTES)
      if (pack === undefined) return undefined
      const entries = [...scanPack(pack)].map(({ at }) => at)
      return decodePackIndex(encodePackIndex(entries, pack.subarray(pack.length - 20)), size)
    } catch (again) {
      if (!isCxvError(again, 'FORMAT_INVALID')) throw again
      return undefined
    }
  }
}

function deltaEntry(at: Located, locate: (oid: Oid) => Located | undefined): DeltaEntry {
  const bytes = readRangeSync(at.pack.path, at)
  if (bytes === undefined) throw damaged(`${at.pack.path} is gone`)
  return {
    bytes,
    before: (distance) => {
      const start = at.start - distance
      if (distance <= 0 || start < 12) throw damaged('a delta has a bad offset')
      return deltaEntry({ ...at, start, end: at.pack.index.endOf(start) }, locate)
    },
    byId: (oid) => {
      const base = locate(oid)
      return base === undefined ? undefined : deltaEntry(base, locate)
    },
  }
}
