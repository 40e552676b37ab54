import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { tempFolder } from '../../test/helpers/temp.ts'
import { type ChunkIndex, openIndex } from './level-index.ts'

const open = (folder: string): Promise<ChunkIndex> =>
  openIndex(folder, { waitMs: 60_000, now: Date.now, onWait: () => setImmediate() })

test('an index marked broken is set aside once, whoever opens it', async (t) => {
  const top = tempFolder(t)
  for (let round = 0; round < 6; round++) {
    const folder = join(top, `${round}`)
    mkdirSync(folder)
    await (await open(folder)).close()
    writeFileSync(join(folder, 'index.broken'), '')
    const keys = ['a', 'b', 'c', 'd']
    await Promise.all(
      keys.map(async (key) => {
        const index = await open(folder)
        await index.cache.write([[key, Uint8Array.of(1)]])
        await index.close()
      }),
    )
    const index = await open(folder)
    const kept = await index.cache.getMany(keys)
    await index.close()
    assert.ok(!kept.includes(undefined), `round ${round}: what was written is gone`)
    assert.equal(readdirSync(join(folder, 'bad')).length, 1, `round ${round}`)
    assert.equal(existsSync(join(folder, 'index.broken')), false)
  }
})

test('what was deleted takes no room after compaction, and nothing else is lost', async (t) => {
  const folder = tempFolder(t)
  const bytesOnDisk = (): number =>
    readdirSync(join(folder, 'index'))
      .filter((name) => /\.(ldb|log)$/.test(name))
      .reduce((sum, name) => sum + statSync(join(folder, 'index', name)).size, 0)
  const keys = Array.from({ length: 2_000 }, (_, i) => `g/${i}`)
  // As `add` and `commit` are: LevelDB compacts what it has written to files, not what it holds in memory.
  const adding = await open(folder)
  await adding.cache.write(keys.map((key) => [key, randomBytes(500)] as const))
  await adding.cache.write([
    ['f', Uint8Array.of(1)],
    ['h', Uint8Array.of(2)],
  ])
  await adding.close()
  const index = await open(folder)
  await index.cache.write(keys.map((key) => [key, undefined] as const))
  assert.ok(bytesOnDisk() > 1_000_000)
  await index.cache.compact('g/')
  assert.ok(bytesOnDisk() < 20_000, `${bytesOnDisk()} bytes`)
  const values = await index.cache.getMany(['f', 'g/7', 'h'])
  assert.deepEqual(
    values.map((value) => value?.[0]),
    [1, undefined, 2],
  )
  await index.close()
})
