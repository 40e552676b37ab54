import assert from 'node:assert/strict'
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { seededBytes } from '../../test/helpers/seeded.ts'
import { tempFolder } from '../../test/helpers/temp.ts'
import { contentId, type ContentId } from '../base/index.ts'
import type { ImageConfig } from '../format/types.ts'
import { openDecodedCache, transformId } from './cache.ts'

const IMAGE: ImageConfig = { size: [4, 6], channels: 1, resize: 'pad', normalize: 'unit' }
const HEADER = 16
const RECORD = 32 + 4 + 24

const idOf = (i: number): ContentId => contentId(i.toString(16).padStart(64, 'a'))
const images = (from: number, to: number): Map<ContentId, Uint8Array> =>
  new Map(
    Array.from({ length: to - from }, (_, k) => [idOf(from + k), seededBytes(from + k + 1, 24)]),
  )
const ALL = images(0, 5)
const IDS = new Set(ALL.keys())

const segmentsIn = (folder: string): string[] => {
  const of = join(folder, 'decoded', transformId(IMAGE))
  return readdirSync(of).map((name) => join(of, name))
}

test('what is saved is loaded, segments together, and no more than is asked for', async (t) => {
  const folder = tempFolder(t)
  const cache = openDecodedCache(folder, IMAGE)
  assert.equal((await cache.load(IDS)).size, 0)
  cache.save(images(0, 2))
  cache.save(images(2, 5))
  cache.save(new Map())
  assert.equal(segmentsIn(folder).length, 2)
  assert.deepEqual(await openDecodedCache(folder, IMAGE).load(IDS), ALL)
  assert.deepEqual(await cache.load(new Set([idOf(3), idOf(77)])), images(3, 4))
})

test('a flipped bit anywhere never gives other pixels; a damaged segment is removed', async (t) => {
  const folder = tempFolder(t)
  const cache = openDecodedCache(folder, IMAGE)
  cache.save(ALL)
  const [file = ''] = segmentsIn(folder)
  const whole = readFileSync(file)
  assert.equal(whole.length, HEADER + 5 * RECORD)
  for (let at = 0; at < whole.length; at++) {
    const damaged = Uint8Array.from(whole)
    damaged[at]! ^= 1 << (at % 8)
    writeFileSync(file, damaged)
    const found = await cache.load(IDS)
    for (const [id, pixels] of found) assert.deepEqual(pixels, ALL.get(id), `byte ${at}`)
    assert.ok(found.size < 5, `byte ${at}: nothing was dropped`)
    // An id that became another one is an image that nobody asks for; the rest is whole.
    const inId = at >= HEADER && (at - HEADER) % RECORD < 32
    assert.equal(segmentsIn(folder).length, inId ? 1 : 0, `byte ${at}`)
  }
})

test('a segment cut anywhere is dropped and removed, and can be written again', async (t) => {
  const folder = tempFolder(t)
  const cache = openDecodedCache(folder, IMAGE)
  cache.save(ALL)
  const [file = ''] = segmentsIn(folder)
  const whole = readFileSync(file)
  for (const length of [0, 7, HEADER, HEADER + RECORD, HEADER + 2 * RECORD + 1, whole.length - 1]) {
    writeFileSync(file, whole)
    truncateSync(file, length)
    assert.equal((await cache.load(IDS)).size, 0, `${length} bytes`)
    assert.deepEqual(segmentsIn(folder), [], `${length} bytes`)
  }
  cache.save(ALL)
  assert.deepEqual(readFileSync(file), whole)
  assert.deepEqual(await cache.load(IDS), ALL)
})

test('another size, channel count or resize has a folder of its own; normalisation, done later, has not', async (t) => {
  const folder = tempFolder(t)
  openDecodedCache(folder, IMAGE).save(ALL)
  const others: readonly Partial<ImageConfig>[] = [
    { size: [6, 4] },
    { size: [8, 12] },
    { channels: 3 },
    { resize: 'crop' },
  ]
  const names = new Set([transformId(IMAGE)])
  for (const other of others) {
    const image = { ...IMAGE, ...other }
    names.add(transformId(image))
    assert.equal((await openDecodedCache(folder, image).load(IDS)).size, 0)
  }
  assert.equal(names.size, 1 + others.length)
  const later = openDecodedCache(folder, { ...IMAGE, normalize: 'per_image' })
  assert.equal((await later.load(IDS)).size, 5)
})
