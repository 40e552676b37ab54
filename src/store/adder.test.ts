import assert from 'node:assert/strict'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { seededBytes } from '../../test/helpers/seeded.ts'
import { tempFolder } from '../../test/helpers/temp.ts'
import { verifyPack } from '../format/index.ts'
import { packPath } from './paths.ts'
import { type Adder, type Answer, createAdder } from './adder.ts'

test('what was asked for is not durable while it is on its way to a pack', async (t) => {
  const folder = tempFolder(t)
  const paths = ['a', 'b', 'c'].map((name) => join(folder, name))
  paths.forEach((path, i) => writeFileSync(path, seededBytes(i, 1_000)))
  const durableWhenAsked: number[] = []
  const adder: Adder = createAdder(join(folder, 'packs'), {
    async ask(_kind, _stamp, ids) {
      // Later, as from another thread: meanwhile news of packs may come.
      await new Promise((resolve) => setImmediate(resolve))
      durableWhenAsked.push(adder.durableStamp())
      return ids.map((): Answer => ({ state: 'new' }))
    },
    published: () => Promise.resolve(),
    stopped: () => false,
  })
  const first = await adder.addRun(paths.slice(0, 2))
  assert.equal(first.stamp, 1)
  assert.equal(adder.durableStamp(), 0)
  const second = await adder.addRun(paths.slice(2))
  assert.equal(second.stamp, 2)
  await adder.finish()
  assert.deepEqual(durableWhenAsked, [0, 0])
  assert.equal(adder.durableStamp(), 2)
})

test('small files behind a large one that grows all the time are stored whole', async (t) => {
  const folder = tempFolder(t)
  const packs = join(folder, 'packs')
  const paths = ['large', 'a', 'b', 'c'].map((name) => join(folder, name))
  paths.forEach((path, i) => writeFileSync(path, seededBytes(i, i === 0 ? 3 << 20 : 500_000)))
  const growing = setInterval(() => appendFileSync(paths[0]!, 'x'), 0)
  t.after(() => clearInterval(growing))
  const ids: string[] = []
  const adder = createAdder(packs, {
    ask: (_kind, _stamp, asked) => Promise.resolve(asked.map((): Answer => ({ state: 'new' }))),
    published({ id }) {
      ids.push(id)
      verifyPack(id, readFileSync(packPath(packs, id)))
      return Promise.resolve()
    },
    stopped: () => false,
  })
  const { files } = await adder.addRun(paths)
  await adder.finish()
  assert.deepEqual(
    files.map((file) => (file.ok ? 'ok' : file.code)),
    ['FILE_CHANGED', 'ok', 'ok', 'ok'],
  )
  assert.ok(ids.length > 0)
})
