import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fs, { readdirSync, readFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { isCxvError } from '../base/index.ts'
import { type PackEntry, RECIPE_MAX_BYTES, verifyPack } from '../format/index.ts'
import { seededBytes } from '../../test/helpers/seeded.ts'
import { tempFolder } from '../../test/helpers/temp.ts'
import { createPackWriter, type PackWriter, type PublishedPack, type Sheet } from './pack-writer.ts'
import { packPath } from './paths.ts'

function appendChunk(writer: PackWriter, stamp: number): void {
  const bytes = seededBytes(stamp, 1_000)
  writer.append('chunk', createHash('sha256').update(bytes).digest(), bytes, stamp)
}

test('frames of a pack that failed to be published stay pending for ever', async (t) => {
  const full = new Error('the disk is full')
  const writer = createPackWriter(tempFolder(t), 'data', () => Promise.reject(full))
  appendChunk(writer, 3)
  appendChunk(writer, 4)
  await assert.rejects(writer.finish(), full)
  assert.equal(writer.pendingSince(), 3)
  await writer.abandon()
  assert.equal(writer.pendingSince(), 3)
})

test('frames that were given up stay pending, those published before do not', async (t) => {
  const writer = createPackWriter(tempFolder(t), 'data', () => Promise.resolve())
  appendChunk(writer, 1)
  await writer.finish()
  assert.equal(writer.pendingSince(), undefined)
  appendChunk(writer, 2)
  await writer.abandon()
  assert.equal(writer.pendingSince(), 2)
})

const toldOf = ({ id, offset, storedLength }: PackEntry): readonly [string, number, number] => [
  Buffer.from(id).toString('hex'),
  offset,
  storedLength,
]

test('packs on disk are what was appended, whatever ends within a block or a buffer', async (t) => {
  const packs = tempFolder(t)
  const published: PublishedPack[] = []
  const writer = createPackWriter(packs, 'data', (pack) =>
    Promise.resolve(void published.push(pack)),
  )
  const lengths = [0, 1, 4_031, 4_032, 4_096, 1 << 20, 4 << 20, 4 << 20, 3, 1_000, (4 << 20) - 56]
  const ids: string[] = []
  for (let round = 0; round < 3; round++) {
    for (const [i, length] of lengths.entries()) {
      const bytes = seededBytes(round * 100 + i, length)
      const id = createHash('sha256').update(bytes).digest()
      ids.push(id.toString('hex'))
      writer.append('chunk', id, bytes, round)
      await writer.keepUp()
    }
  }
  await writer.finish()
  assert.ok(published.length > 1)
  const found = published.flatMap(({ id, sizeBytes, entries }) => {
    const bytes = readFileSync(packPath(packs, id))
    assert.equal(bytes.length, sizeBytes)
    const read = verifyPack(id, bytes).entries.map(toldOf)
    assert.deepEqual(read, entries.map(toldOf))
    return read.map(([chunk]) => chunk)
  })
  assert.deepEqual(found, ids)
})

test('a frame that no buffer has room for is written whole', async (t) => {
  const packs = tempFolder(t)
  const published: PublishedPack[] = []
  const writer = createPackWriter(packs, 'meta', (pack) =>
    Promise.resolve(void published.push(pack)),
  )
  const body = seededBytes(1, RECIPE_MAX_BYTES)
  const id = createHash('sha256').update(body).digest()
  appendChunk(writer, 1)
  writer.appendFrame({ kind: 'recipe', codec: 'stored', id, body, plainLength: body.length }, 2)
  appendChunk(writer, 3)
  await writer.finish()
  const [pack] = published
  assert.ok(pack !== undefined)
  const bytes = readFileSync(packPath(packs, pack.id))
  const at = pack.entries[1]?.offset ?? 0
  assert.ok(bytes.subarray(at + 56, at + 56 + body.length).equals(body))
  assert.equal(pack.entries.length, 3)
})

const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest()

/** A writer whose packs are read back and checked when they are published. */
function checkedWriter(packs: string): {
  readonly writer: PackWriter
  /** Ids of the frames in the packs, in order. */
  readonly found: () => readonly string[]
} {
  const ids: string[] = []
  const writer = createPackWriter(packs, 'data', ({ id, sizeBytes, entries }) => {
    const bytes = readFileSync(packPath(packs, id))
    assert.equal(bytes.length, sizeBytes)
    const read = verifyPack(id, bytes).entries.map(toldOf)
    assert.deepEqual(read, entries.map(toldOf))
    ids.push(...read.map(([chunk]) => chunk))
    return Promise.resolve()
  })
  return { writer, found: () => ids }
}

interface Kept {
  readonly id: Buffer
  readonly from: number
  readonly to: number
}

/** Reads bodies into a sheet until one has no room. @returns how many are there */
function fillSheet(sheet: Sheet, bodies: readonly Uint8Array[]): readonly Kept[] {
  const kept: Kept[] = []
  for (const body of bodies) {
    const from = sheet.room(body.length)
    if (from === undefined) break
    sheet.bytes.set(body, from)
    sheet.keep(body.length)
    kept.push({ id: sha256(body), from, to: from + body.length })
  }
  return kept
}

test('chunks that are all stored are written from where they were read', async (t) => {
  const { writer, found } = checkedWriter(tempFolder(t))
  const buffers = new Set<ArrayBufferLike>()
  const { write } = fs
  t.mock.method(fs, 'write', (...args: Parameters<typeof write>) => {
    buffers.add((args[1] as unknown as Uint8Array).buffer)
    write(...args)
  })
  let copied = 0
  const { set } = Uint8Array.prototype
  t.mock.method(Uint8Array.prototype, 'set', function (this: Uint8Array, from: Uint8Array, at = 0) {
    copied += from.length
    set.call(this, from, at)
  })
  syncBuiltinESMExports()
  t.after(() => {
    t.mock.restoreAll()
    syncBuiltinESMExports()
  })
  const bodies = Array.from({ length: 130 }, (_, i) => seededBytes(i, 300_000 + i * 777))
  const places: Kept[] = []
  // As an adder does: one sheet is read into before the one before it is stored.
  let next = writer.beginSheet()
  let kept = fillSheet(next, bodies)
  let sheets = 0
  while (kept.length > 0) {
    const sheet = next
    const toStore = kept
    sheets++
    places.push(...kept)
    next = writer.beginSheet()
    kept = fillSheet(next, bodies.slice(places.length))
    const before = toStore.map(({ from, to }) => sha256(sheet.bytes.subarray(from, to)))
    const copiedBefore = copied
    for (const { id, from, to } of toStore) writer.appendRead(sheet, id, from, to, 1, true)
    // Ids, a header, a table, and the part of a block that was not written: no body.
    assert.ok(copied - copiedBefore < 64 << 10, `${copied - copiedBefore} bytes copied`)
    // None was moved.
    assert.deepEqual(
      toStore.map(({ from, to }) => sha256(sheet.bytes.subarray(from, to))),
      before,
    )
    writer.endSheet(sheet)
    await writer.keepUp()
  }
  await writer.finish()
  assert.equal(places.length, bodies.length)
  assert.deepEqual(
    found(),
    places.map(({ id }) => id.toString('hex')),
  )
  // 48 MB of them in two packs; a table is written from memory of its own.
  assert.ok(sheets >= 10, String(sheets))
  assert.equal(buffers.size, 1, 'one slab')
})

/** What becomes of a chunk that was read. */
type Verdict = 'stored' | 'known'

test('whichever chunks of a sheet are stored, packs hold just those', async (t) => {
  const size = fc.oneof(
    fc.integer({ min: 0, max: 5_000 }),
    fc.integer({ min: 0, max: 1 << 20 }),
    fc.constantFrom(4_096 - 56, 4_096, 1 << 20, 0),
  )
  const chunk = fc.record({
    size,
    seed: fc.integer({ min: 0, max: 1 << 30 }),
    compressible: fc.boolean(),
    verdict: fc.constantFrom<Verdict>('stored', 'stored', 'known'),
  })
  /** A sheet of chunks as they were read; a window, from which they are copied; frames made elsewhere. */
  const step = fc.record({
    how: fc.constantFrom('sheet', 'sheet', 'sheet', 'window', 'append'),
    chunks: fc.array(chunk, { minLength: 1, maxLength: 14 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const packs = tempFolder(t)
      const { writer, found } = checkedWriter(packs)
      const stored: string[] = []
      const verdicts = new Map<string, Verdict>()
      let waiting: { readonly sheet: Sheet; readonly kept: readonly Kept[] } | undefined
      const settle = async (): Promise<void> => {
        if (waiting === undefined) return
        const { sheet, kept } = waiting
        waiting = undefined
        for (const { id, from, to } of kept) {
          if (verdicts.get(id.toString('hex')) === 'known') continue
          // What was known before it is still what it was.
          assert.ok(sha256(sheet.bytes.subarray(from, to)).equals(id))
          stored.push(id.toString('hex'))
          writer.appendRead(sheet, id, from, to, 1, true)
        }
        writer.endSheet(sheet)
        await writer.keepUp()
      }
      for (const { how, chunks } of steps) {
        const bodies = chunks.map(({ size: n, seed, compressible, verdict }) => {
          const body = compressible ? Buffer.alloc(n, String(seed)) : seededBytes(seed, n)
          verdicts.set(sha256(body).toString('hex'), verdict)
          return body
        })
        if (how === 'append') {
          await settle()
          for (const body of bodies) {
            const id = sha256(body)
            stored.push(id.toString('hex'))
            writer.append('chunk', id, body, 1)
          }
          continue
        }
        const sheet = writer.beginSheet()
        let at = 0
        const kept =
          how === 'sheet'
            ? fillSheet(sheet, bodies)
            : bodies.slice(0, 4).map((body) => {
                sheet.window().set(body, at)
                at += body.length
                return { id: sha256(body), from: at - body.length, to: at }
              })
        assert.ok(kept.length > 0)
        await settle()
        waiting = { sheet, kept }
      }
      await settle()
      await writer.finish()
      assert.deepEqual(found(), stored)
    }),
    { numRuns: 40 },
  )
})

test('a pack that is full within a sheet, against what was foreseen, loses nothing', async (t) => {
  const { writer, found } = checkedWriter(tempFolder(t))
  const sheet = writer.beginSheet()
  const kept = fillSheet(
    sheet,
    Array.from({ length: 20 }, (_, i) => seededBytes(i, 250_000)),
  )
  // 29 MiB that came in between, whole blocks with their headers: the sheet lies right all the same.
  const between = Array.from({ length: 29 }, (_, i) => seededBytes(1_000 + i, (1 << 20) - 56))
  for (const body of between) {
    writer.append('chunk', sha256(body), body, 1)
    await writer.keepUp()
  }
  for (const { id, from, to } of kept) writer.appendRead(sheet, id, from, to, 1, true)
  writer.endSheet(sheet)
  await writer.finish()
  assert.deepEqual(
    found(),
    [...between.map(sha256), ...kept.map(({ id }) => id)].map((id) => id.toString('hex')),
  )
})

test('a sheet that was filled as neither body nor window is refused', async (t) => {
  const { writer } = checkedWriter(tempFolder(t))
  const sheet = writer.beginSheet()
  sheet.bytes.set(seededBytes(1, 10), 4_100)
  const id = sha256(seededBytes(1, 10))
  assert.throws(() => writer.appendRead(sheet, id, 4_100, 4_110, 1, true), /nothing was kept/)
  await writer.abandon()
})

test('what is appended between two chunks of a sheet does not touch the second', async (t) => {
  const { writer, found } = checkedWriter(tempFolder(t))
  const sheet = writer.beginSheet()
  const [one, two] = fillSheet(sheet, [seededBytes(1, 50_000), seededBytes(2, 50_000)])
  assert.ok(one !== undefined && two !== undefined)
  const between = seededBytes(3, 20_000)
  writer.appendRead(sheet, one.id, one.from, one.to, 1, true)
  writer.append('chunk', sha256(between), between, 1)
  writer.appendRead(sheet, two.id, two.from, two.to, 1, true)
  writer.endSheet(sheet)
  await writer.finish()
  assert.deepEqual(
    found(),
    [one.id, sha256(between), two.id].map((id) => id.toString('hex')),
  )
})

/** Every write behind the caller's back finds the disk full, after a moment. */
function fullDisk(t: TestContext): void {
  type Told = (error: Error | null, written: number) => void
  type Args = [Uint8Array, number, number, number, Told]
  t.mock.method(fs, 'write', (_fd: number, ...[, , , , told]: Args) => {
    setTimeout(() => told(Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' }), 0), 5)
  })
  syncBuiltinESMExports()
  t.after(() => {
    t.mock.restoreAll()
    syncBuiltinESMExports()
  })
}

for (const chunks of [1, 12]) {
  test(`a disk that is full after ${chunks} MiB is told, and leaves no temporary`, async (t) => {
    const packs = tempFolder(t)
    fullDisk(t)
    const writer = createPackWriter(packs, 'data', () => Promise.reject(new Error('published')))
    const filling = async (): Promise<void> => {
      for (let i = 0; i < chunks; i++) {
        const bytes = seededBytes(i, 1 << 20)
        writer.append('chunk', createHash('sha256').update(bytes).digest(), bytes, 7)
        await writer.keepUp()
      }
      await writer.finish()
    }
    await assert.rejects(filling(), (error) => isCxvError(error, 'NO_SPACE'))
    await writer.abandon()
    assert.equal(writer.pendingSince(), 7)
    assert.deepEqual(readdirSync(packs), [])
  })
}

test('giving up waits for what is on its way to the disk', async (t) => {
  const packs = tempFolder(t)
  const writer = createPackWriter(packs, 'data', () => Promise.reject(new Error('published')))
  for (let i = 0; i < 9; i++) {
    const bytes = seededBytes(i, 1 << 20)
    writer.append('chunk', createHash('sha256').update(bytes).digest(), bytes, i)
  }
  await writer.abandon()
  assert.deepEqual(readdirSync(packs), [])
})
