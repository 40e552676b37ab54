import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
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
