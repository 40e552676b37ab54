import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fs, { readdirSync, readFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { test, type TestContext } from 'node:test'
import { isCxvError } from '../base/index.ts'
import { type PackEntry, RECIPE_MAX_BYTES, verifyPack } from '../format/index.ts'
import { seededBytes } from '../../test/helpers/seeded.ts'
import { tempFolder } from '../../test/helpers/temp.ts'
import { createPackWriter, type PackWriter, type PublishedPack } from './pack-writer.ts'
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
