import assert from 'node:assert/strict'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { test } from 'node:test'
import { testContext } from '../../test/helpers/context.ts'
import { tempFolder } from '../../test/helpers/temp.ts'
import { workTree } from '../../test/helpers/work-tree.ts'
import { stageFiles } from './add.ts'

test('the progress of an add knows about how much there is, from few looks, and ends at what there was', async (t) => {
  const tree = await workTree(tempFolder(t))
  const files = Array.from({ length: 3_000 }, (_, i) => {
    // The first 1,000 are small.
    return [`f${String(i).padStart(4, '0')}`, 'x'.repeat(i < 1_000 ? 10 : 100)] as const
  })
  tree.write(Object.fromEntries(files))
  const bytes = 10 * 1_000 + 100 * 2_000
  let looks = 0
  const { lstatSync } = fs
  t.mock.method(fs, 'lstatSync', (...args: Parameters<typeof lstatSync>) => {
    looks++
    return lstatSync(...args)
  })
  syncBuiltinESMExports()
  t.after(() => {
    t.mock.restoreAll()
    syncBuiltinESMExports()
  })
  let now = 0
  const ctx = { ...testContext(), now: () => (now += 1_000) }
  await tree.with((repo) => stageFiles(ctx, repo, tree.root, ['.']))
  assert.ok(looks < 750, `${looks} looks`)
  const totals = ctx.events.flatMap((e) =>
    (e.type === 'task.start' && e.unit === 'bytes') || e.type === 'task.step' ? [e] : [],
  )
  const first = totals.find((e) => e.type === 'task.start')?.total ?? 0
  assert.ok(Math.abs(first / bytes - 1) < 0.05, `${first} of ${bytes}`)
  const last = totals.at(-1)
  assert.ok(last?.type === 'task.step')
  assert.equal(last.done, bytes)
  assert.ok(Math.abs((last.total ?? 0) / bytes - 1) < 0.05)
})
