import assert from 'node:assert/strict'
import { chmodSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { testContext } from '../../test/helpers/context.ts'
import { workRepo } from '../../test/helpers/work-repo.ts'
import { openRepository } from './index.ts'

test('who waits for the lock gives the index to the holder', async (t) => {
  const { repo } = await workRepo(t)
  const other = await openRepository(testContext(), repo.root)
  t.after(() => other[Symbol.asyncDispose]())
  const order: string[] = []
  let waiting: Promise<void> | undefined
  await repo.withWriteLock('commit', async () => {
    await other.store()
    waiting = other.withWriteLock('seal run', async () => {
      await other.store()
      order.push('seal run')
    })
    // Opens only when the other has closed it.
    await repo.store()
    order.push('commit')
    await repo.releaseStore()
  })
  await waiting
  assert.deepEqual(order, ['commit', 'seal run'])
})

test('an index that could not be opened fails once, not again when it is let go', async (t) => {
  const { repo } = await workRepo(t)
  await repo.releaseStore()
  rmSync(join(repo.folder, 'packs'), { recursive: true, force: true })
  writeFileSync(join(repo.folder, 'packs'), 'a file where a folder belongs')
  rmSync(join(repo.folder, 'index'), { recursive: true, force: true })
  writeFileSync(join(repo.folder, 'index'), '')
  chmodSync(join(repo.folder, 'index'), 0o444)
  await assert.rejects(repo.store())
  await repo.releaseStore()
})
