import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { isCxvError } from '../base/index.ts'
import { namesIn, readRangeSync, setAside } from '../io/index.ts'
import { damaged, objectId, type Oid } from './git-objects.ts'
import {
  decodePackIndex,
  encodePack,
  encodePackIndex,
  entryHead,
  indexEntries,
  MAX_PACK_BYTES,
  objectAt,
  type PackedObject,
  scanPack,
} from './git-pack.ts'
import { readLoose } from './loose.ts'
import type { Objects } from './objects.ts'
import type { DamagedFile, MovedFile } from './types.ts'

const SHA1_BYTES = 20
const PACKS = 'objects/pack'

/** Reads every pack, index and loose object of a git folder. */
export function damagedFiles(folder: string): readonly DamagedFile[] {
  const found: DamagedFile[] = []
  const check = (file: string, work: () => void): void => {
    try {
      work()
    } catch (error) {
      if (!isCxvError(error, 'FORMAT_INVALID')) throw error
      found.push({ file, problem: error.message })
    }
  }
  for (const name of packNames(folder))
    check(`${PACKS}/${name}.pack`, () => checkPack(folder, name))
  for (const file of looseFiles(folder)) {
    check(file, () => {
      const object = readLoose(join(folder, file))
      if (object === undefined) return
      const oid = file.slice('objects/'.length).replace('/', '')
      if (objectId(object.type, object.bytes) !== oid) throw damaged('it does not match its id')
    })
  }
  return found
}

/**
 * Keeps the sound objects of damaged files in a new pack and moves the files to `badFolder`. Deltas, which
 * only git itself writes, are not kept: their bases may be what is damaged.
 */
export function repairFiles(
  folder: string,
  badFolder: string,
  objects: Objects,
): readonly MovedFile[] {
  return damagedFiles(folder).map((bad) => {
    if (!bad.file.startsWith(`${PACKS}/`)) {
      return { ...bad, to: setAside(join(folder, bad.file), badFolder), kept: 0 }
    }
    const name = bad.file.slice(PACKS.length + 1, -'.pack'.length)
    const path = join(folder, PACKS, name)
    const kept = soundObjects(path)
    // The index goes first: it is what makes a pack visible.
    const to = setAside(`${path}.idx`, badFolder)
    setAside(`${path}.pack`, badFolder)
    if (kept.length > 0) objects.addPack(encodePack(kept), indexEntries(kept))
    return { ...bad, to, kept: kept.length }
  })
}

const packNames = (folder: string): readonly string[] =>
  namesIn(join(folder, PACKS))
    .filter((name) => /^pack-[0-9a-f]{40}\.idx$/.test(name))
    .map((name) => name.slice(0, -'.idx'.length))

function* looseFiles(folder: string): Generator<string> {
  for (const first of namesIn(join(folder, 'objects'))) {
    if (!/^[0-9a-f]{2}$/.test(first)) continue
    for (const rest of namesIn(join(folder, 'objects', first))) {
      if (/^[0-9a-f]{38}$/.test(rest)) yield `objects/${first}/${rest}`
    }
  }
}

const readBoth = (path: string) => ({
  pack: readRangeSync(`${path}.pack`, undefined, MAX_PACK_BYTES),
  index: readRangeSync(`${path}.idx`, undefined, MAX_PACK_BYTES),
})

const endsWithSum = (bytes: Uint8Array): boolean =>
  bytes.length > SHA1_BYTES &&
  createHash('sha1')
    .update(bytes.subarray(0, bytes.length - SHA1_BYTES))
    .digest()
    .equals(bytes.subarray(bytes.length - SHA1_BYTES))

/** @throws FORMAT_INVALID */
function checkPack(folder: string, name: string): void {
  const { pack, index } = readBoth(join(folder, PACKS, name))
  if (pack === undefined) throw damaged('its pack is gone')
  if (index === undefined) return
  if (!endsWithSum(pack)) throw damaged('it does not match its checksum')
  if (!endsWithSum(index)) throw damaged('its index does not match its checksum')
  const places = decodePackIndex(index, pack.length)
  // Packs that git made have deltas: there the checksums must do.
  if (hasDeltas(pack, places)) return
  const entries = [...scanPack(pack)].map(({ at }) => at)
  const right = encodePackIndex(entries, pack.subarray(pack.length - SHA1_BYTES))
  if (Buffer.compare(right, index) !== 0) throw damaged('its index is of another pack')
}

type Places = ReturnType<typeof decodePackIndex>

function* entriesOf(
  pack: Uint8Array,
  places: Places,
): Generator<{ readonly oid: Oid; readonly entry: Uint8Array }> {
  for (let i = 0; i < places.count; i++) {
    const oid = places.oidAt(i)
    const place = places.find(oid)
    if (place !== undefined) yield { oid, entry: pack.subarray(place.start, place.end) }
  }
}

function hasDeltas(pack: Uint8Array, places: Places): boolean {
  for (const { entry } of entriesOf(pack, places)) {
    if (entryHead(entry, 0).type === undefined) return true
  }
  return false
}

/** The whole objects of a pack that match their ids, found by its index or, without one, by going forward. */
function soundObjects(path: string): readonly PackedObject[] {
  const { pack, index } = readBoth(path)
  if (pack === undefined) return []
  const sound = new Map<Oid, PackedObject>()
  const keep = (work: () => PackedObject | undefined): boolean => {
    try {
      const object = work()
      if (object !== undefined) sound.set(object.oid, object)
      return true
    } catch (error) {
      if (!isCxvError(error, 'FORMAT_INVALID')) throw error
      return false
    }
  }
  let places: Places | undefined
  keep(() => void (places = index && decodePackIndex(index, pack.length)))
  for (let i = 0; i < (places?.count ?? 0); i++) {
    keep(() => {
      const oid = places?.oidAt(i) ?? ''
      const place = places?.find(oid)
      const object = place && objectAt(pack.subarray(place.start, place.end))
      return object?.oid === oid ? object : undefined
    })
  }
  let at = 12
  const goOn = (): PackedObject | undefined => {
    const object = objectAt(pack.subarray(at, pack.length - SHA1_BYTES))
    at += object?.entry.length ?? pack.length
    return object
  }
  while (at < pack.length - SHA1_BYTES && keep(goOn));
  return [...sound.values()]
}
