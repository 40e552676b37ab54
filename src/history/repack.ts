import { join } from 'node:path'
import { isCxvError } from '../base/index.ts'
import { lstatIfAny, namesIn, readRangeSync, removePath, TEMPORARY_NAME } from '../io/index.ts'
import type { Oid } from './git-objects.ts'
import { decodePackIndex, objectAt, type PackedObject } from './git-pack.ts'

/** A commit, a run or a pull each add a pack; every look-up asks all of them. */
const MAX_SMALL_PACKS = 50
const SMALL_PACK_BYTES = 8 << 20
/** What a killed process left may still be in the hands of a live one that is slow. */
const LEFTOVER_AGE_MS = 3_600_000

export interface SmallPacks {
  readonly objects: readonly PackedObject[]
  /**
   * Removes the packs that are merged now, the index first: it is what makes a pack visible. Not `made`,
   * which may be one of them: when the others held nothing that it did not.
   */
  remove(made: string): void
}

/**
 * The small packs as one list of objects, copied as they lie, when there are so many that one is better.
 * Undefined when there are few, or when another process is at the same work. Nothing is removed yet: the
 * caller first makes the new pack durable.
 */
export function smallPacks(packFolder: string): SmallPacks | undefined {
  const names = namesIn(packFolder)
  const small = names
    .filter((name) => /^pack-[0-9a-f]{40}\.idx$/.test(name))
    .map((name) => join(packFolder, name.slice(0, -4)))
    .filter((path) => sizeOf(`${path}.pack`) < SMALL_PACK_BYTES)
    .sort()
  if (small.length <= MAX_SMALL_PACKS) return undefined
  const objects = new Map<Oid, PackedObject>()
  const merged: string[] = []
  for (const path of small) {
    const found = objectsOf(path)
    if (found === 'gone') return undefined
    if (found === 'unfit') continue
    for (const object of found) objects.set(object.oid, object)
    merged.push(path)
  }
  if (merged.length <= MAX_SMALL_PACKS) return undefined
  return {
    objects: [...objects.values()],
    remove(made) {
      for (const path of merged.filter((each) => each !== made)) {
        removePath(`${path}.idx`)
        removePath(`${path}.pack`)
      }
    },
  }
}

const sizeOf = (path: string): number => Number(lstatIfAny(path)?.size ?? Infinity)

/** `unfit`: it has deltas, or is damaged; it stays as it is, for `fsck` to name. */
function objectsOf(path: string): readonly PackedObject[] | 'gone' | 'unfit' {
  const pack = readRangeSync(`${path}.pack`)
  const indexBytes = readRangeSync(`${path}.idx`)
  if (pack === undefined || indexBytes === undefined) return 'gone'
  try {
    const index = decodePackIndex(indexBytes, pack.length)
    const found: PackedObject[] = []
    for (let i = 0; i < index.count; i++) {
      const oid = index.oidAt(i)
      const place = index.find(oid)
      if (place === undefined) return 'unfit'
      const entry = pack.subarray(place.start, place.end)
      // Of two copies the damaged one must not outlive the other.
      if (objectAt(entry)?.oid !== oid) return 'unfit'
      found.push({ oid, entry })
    }
    return found
  } catch (error) {
    if (isCxvError(error, 'FORMAT_INVALID')) return 'unfit'
    throw error
  }
}

/** Removes temporary files and halves of packs that a killed process left. */
export function removeLeftovers(packFolder: string, now: number): void {
  const names = new Set(namesIn(packFolder))
  for (const name of names) {
    const other = name.replace(/\.(pack|idx)$/, (end) => (end === '.idx' ? '.pack' : '.idx'))
    const half = /^pack-[0-9a-f]{40}\.(pack|idx)$/.test(name) && !names.has(other)
    if (!half && !TEMPORARY_NAME.test(name)) continue
    const path = join(packFolder, name)
    const stat = lstatIfAny(path)
    if (stat !== undefined && now - Number(stat.mtimeMs) > LEFTOVER_AGE_MS) removePath(path)
  }
}
