import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { list, machine, type Machine } from '../helpers/cli.ts'
import { seededBytes } from '../helpers/seeded.ts'
import { tempFolder } from '../helpers/temp.ts'

/** A repository whose packs lie on a disk of this size; undefined where none can be mounted. */
async function onSmallDisk(
  t: TestContext,
  size: string,
): Promise<{ readonly root: string; readonly user: Machine; free(): void } | undefined> {
  // Before the folder's own clean-up, which runs after this one.
  let mounted: string | undefined
  t.after(() => {
    if (mounted !== undefined) execFileSync('umount', [mounted])
  })
  const top = tempFolder(t, 'full')
  const root = join(top, 'repo')
  const packs = join(root, '.cxv', 'packs')
  const user = machine(join(top, 'home'))
  mkdirSync(root)
  await user.ok(root, 'init')
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', packs], {
      stdio: 'pipe',
    })
  } catch {
    t.skip('a disk of its own takes root to mount')
    return undefined
  }
  mounted = packs
  return {
    root,
    user,
    free: () => void execFileSync('mount', ['-o', 'remount,size=200m', packs], { stdio: 'pipe' }),
  }
}

async function staged(user: Machine, root: string): Promise<number> {
  return list(await user.json(root, 'status'), 'staged').length
}

test('no room for the last bytes of an add: NO_SPACE, and nothing is staged', async (t) => {
  const disk = await onSmallDisk(t, '1m')
  if (disk === undefined) return
  const { root, user, free } = disk
  // Together one batch, and more than a writer's buffer.
  for (let i = 0; i < 5; i++) writeFileSync(join(root, `f${i}`), seededBytes(i, 1_000_000))
  const failed = await user.fails(root, 'add', '.')
  assert.deepEqual([failed.code, failed.status], ['NO_SPACE', 18])
  assert.equal(await staged(user, root), 0)
  free()
  await user.ok(root, 'add', '.')
  assert.equal(await staged(user, root), 5)
})
