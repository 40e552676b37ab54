import assert from 'node:assert/strict'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempFolder } from '../../test/helpers/temp.ts'
import { decodeFacts } from './stat-cache.ts'
import { BATCH_FILES, claimBatch, createBatches, lookAt, replay, type WalkBatch } from './walk.ts'

function batchesOf(tell: (sink: ReturnType<typeof createBatches>) => void): readonly WalkBatch[] {
  const sent: WalkBatch[] = []
  const sink = createBatches((batch) => sent.push(batch))
  tell(sink)
  sink.flush()
  return sent
}

test('batches have so many files each, count from 0, and keep what lies between', () => {
  const [first, second, ...more] = batchesOf((sink) => {
    sink.link('link')
    for (let i = 0; i <= BATCH_FILES; i++) sink.unseen?.(`f${i}`)
    sink.hidden('h', 'folder')
  })
  assert.deepEqual(more, [])
  assert.deepEqual([first?.place, second?.place], [0, 1])
  assert.equal(first?.files.split('\0').length, BATCH_FILES)
  assert.deepEqual(first.others, [['link', 'link']])
  assert.equal(second?.files, `f${BATCH_FILES}`)
  assert.deepEqual(second.others, [['folder', 'h']])
})

test('a batch is claimed once, also where its copy came by message', () => {
  const [batch] = batchesOf((sink) => sink.unseen?.('a'))
  assert.ok(batch !== undefined)
  assert.deepEqual([batch, structuredClone(batch), batch].map(claimBatch), [true, false, false])
})

test('what is gone, or no file any more, is passed over when a batch is told', (t) => {
  const root = tempFolder(t)
  for (const name of ['a', 'b', 'c', 'd']) writeFileSync(join(root, name), name.repeat(3))
  const [batch] = batchesOf((sink) => ['a', 'b', 'c', 'd'].forEach((name) => sink.unseen?.(name)))
  assert.ok(batch !== undefined)
  const whole = lookAt(root, batch)
  rmSync(join(root, 'b'))
  rmSync(join(root, 'd'))
  mkdirSync(join(root, 'd'))
  const looked = lookAt(root, batch)
  assert.notDeepEqual(looked.digest, whole.digest)
  const told: (readonly [string, number])[] = []
  const refuse = (): never => assert.fail()
  replay(batch, looked, {
    file: (path, facts, at) => void told.push([path, decodeFacts(facts, at).size]),
    link: refuse,
    special: refuse,
    reserved: refuse,
    hidden: refuse,
  })
  assert.deepEqual(told, [
    ['a', 3],
    ['c', 3],
  ])
})

test('a batch without files is told of what else it has', (t) => {
  const root = tempFolder(t)
  const [batch] = batchesOf((sink) => sink.special('pipe'))
  assert.ok(batch !== undefined)
  const told: string[] = []
  const refuse = (): never => assert.fail()
  replay(batch, lookAt(root, batch), {
    file: refuse,
    link: refuse,
    special: (path) => void told.push(path),
    reserved: refuse,
    hidden: refuse,
  })
  assert.deepEqual(told, ['pipe'])
})
