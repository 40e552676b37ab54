import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { computeStatus, openRepository } from '../repo/index.ts'
import { memoryBackend } from '../../test/helpers/backends.ts'
import { randomFile } from '../../test/helpers/bare-repo.ts'
import { testContext } from '../../test/helpers/context.ts'
import { tempFolder } from '../../test/helpers/temp.ts'
import { workRepo } from '../../test/helpers/work-repo.ts'
import { clone, push } from './index.ts'

test('after a clone no file is read to know it, and what changed at once is seen', async (t) => {
  const from = await workRepo(t)
  const files = {
    'images/a.png': randomFile(400_000),
    'images/b.png': randomFile(2_000),
    // Of several chunks: the pass that takes packs in leaves it to the checkout.
    'big.dcm': randomFile(9_000_000),
    empty: new Uint8Array(0),
  }
  await from.add(files)
  await from.commit()
  const backend = memoryBackend()
  await push(from.ctx, from.repo, { name: 'origin', backend })

  const root = join(tempFolder(t), 'clone')
  const ctx = { ...testContext(), env: {} }
  await clone(ctx, backend.url, root, backend, { data: true, hardlinks: true })
  for (const [path, bytes] of Object.entries(files)) {
    assert.ok(readFileSync(join(root, path)).equals(bytes), path)
  }
  const look = async (): Promise<{ changed: readonly string[]; read: boolean }> => {
    const looking = testContext()
    await using repo = await openRepository(looking, root)
    const { unstaged } = await computeStatus(looking, repo)
    const started = looking.events.flatMap((e) => (e.type === 'task.start' ? [e.title] : []))
    return { changed: unstaged.map(({ path }) => path), read: started.includes('checking files') }
  }
  const read = ctx.events.some((e) => e.type === 'task.start' && e.title === 'checking files')
  assert.ok(!read, 'the clone itself')
  assert.deepEqual(await look(), { changed: [], read: false })
  writeFileSync(join(root, 'images/a.png'), randomFile(400_000))
  assert.deepEqual(await look(), { changed: ['images/a.png'], read: true })
})
