import assert from 'node:assert/strict'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { commitStage, openRepository, stageFiles } from '../../src/repo/index.ts'
import { type Ended, list, text } from '../helpers/cli.ts'
import { testContext } from '../helpers/context.ts'
import { type FreshWork, freshWork } from '../helpers/fresh-work.ts'
import type { CleanUp } from '../helpers/temp.ts'

async function scene(t: CleanUp): Promise<FreshWork> {
  const fresh = await freshWork(t, 'racing', { 'a.png': 'a' })
  const { top, me, work } = fresh
  await me.ok(work, 'remote', 'add', 'nas', join(top, 'nas'))
  await me.ok(work, 'add', '.')
  await me.ok(work, 'commit', '-m', 'first')
  await me.ok(work, 'push', 'nas')
  return fresh
}

/** Starts a verb that finds the repository locked; while it waits, a commit is made. */
async function overtaken({ me, work }: FreshWork, ...slow: readonly string[]): Promise<Ended> {
  const ctx = testContext()
  await using repo = await openRepository(ctx, work)
  const { waiting } = await repo.withWriteLock('commit', async () => {
    const started = me.start(work, ...slow)
    await started.says(/waiting for/)
    writeFileSync(join(work, 'new.png'), 'new')
    await stageFiles(ctx, repo, work, ['new.png'])
    await commitStage(ctx, repo, { message: 'meanwhile' })
    await repo.releaseStore()
    return { waiting: started }
  })
  return await waiting.ended
}

async function assertKept({ me, work }: FreshWork): Promise<void> {
  const [newest] = list(await me.json(work, 'log'), 'commits')
  assert.equal(text(newest, 'message').trim(), 'meanwhile')
  assert.ok(existsSync(join(work, 'new.png')))
  assert.match(await me.ok(work, 'status'), /nothing to commit/)
}

test('a switch that waited does not go back behind what was committed meanwhile', async (t) => {
  const at = await scene(t)
  const { status, stderr } = await overtaken(at, 'switch', 'main')
  assert.equal(status, 0, stderr)
  await assertKept(at)
})

test('a pull that waited refuses when both went on', async (t) => {
  const at = await scene(t)
  const { me, work, top } = at
  await me.ok(top, 'clone', join(top, 'nas'), 'other')
  writeFileSync(join(top, 'other', 'b.png'), 'b')
  await me.ok(join(top, 'other'), 'add', '.')
  await me.ok(join(top, 'other'), 'commit', '-m', 'theirs')
  await me.ok(join(top, 'other'), 'push')
  const { status, stderr } = await overtaken(at, 'pull', 'nas')
  assert.equal(status, 13, stderr)
  assert.match(stderr, /NOT_FAST_FORWARD/)
  await assertKept(at)
  assert.ok(!existsSync(join(work, 'b.png')))
})

test('a commit names the staged files whose bytes are lost, and makes none', async (t) => {
  const { me, work } = await scene(t)
  writeFileSync(join(work, 'b.png'), 'b')
  await me.ok(work, 'add', 'b.png')
  rmSync(join(work, '.cxv/packs'), { recursive: true })
  const failure = await me.fails(work, 'commit', '-m', 'second')
  assert.equal(failure.code, 'CHUNK_MISSING')
  assert.match(failure.message, /b\.png/)
  assert.match(failure.hint, /cxv add/)
  assert.equal(list(await me.json(work, 'log'), 'commits').length, 1)
  await me.ok(work, 'add', '.')
  await me.ok(work, 'commit', '-m', 'second')
  await me.ok(work, 'fsck')
})
