import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { seededBytes } from '../../test/helpers/seeded.ts'
import { tempFolder } from '../../test/helpers/temp.ts'
import { createPackWriter, type PackWriter } from './pack-writer.ts'

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
