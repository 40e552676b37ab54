import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isCxvError } from '../../src/base/index.ts'
import { openStore } from '../../src/store/index.ts'
import { testContext } from '../helpers/context.ts'
import { seededBytes, seededText } from '../helpers/seeded.ts'
import { addAll, sha256, writeFiles } from '../suites/store.suite.ts'

const top = mkdtempSync(join(tmpdir(), 'cxv-store-crash-'))
after(() => rmSync(top, { recursive: true, force: true }))

const CHILD = fileURLToPath(new URL('../helpers/store-child.js', import.meta.url))

function workFolder(files: number): string {
  const work = mkdtempSync(join(top, 'work-'))
  for (let i = 0; i < files; i++) writeFileSync(join(work, `f${i}`), seededBytes(i, 3_000))
  writeFileSync(join(work, 'large'), seededBytes(1_000_000, 3_000_000))
  writeFileSync(join(work, 'text'), seededText(1, 2_000))
  return work
}

const idsOf = (work: string) =>
  readdirSync(work).map((name) => sha256(readFileSync(join(work, name))))

/** Runs `add` in a process of its own, killed at its n-th durable step. @returns whether it was */
function addKilledAt(step: number, folder: string, work: string): boolean {
  const { signal, status, stderr } = spawnSync(process.execPath, [CHILD, 'add', folder, work], {
    env: { ...process.env, CXV_TEST_KILL_AT: String(step) },
    encoding: 'utf8',
  })
  if (signal === 'SIGKILL') return true
  assert.equal(status, 0, stderr)
  return false
}

async function killedAtEveryStep(files: number): Promise<void> {
  const work = workFolder(files)
  let kills = 0
  for (let step = 1; ; step++) {
    const folder = join(mkdtempSync(join(top, 'repo-')), '.cxv')
    const killed = addKilledAt(step, folder, work)
    if (killed) {
      kills++
      const store = await openStore(testContext(), folder)
      const report = await store.verify([], { deep: true, repair: false })
      assert.deepEqual([report.lost, report.damaged], [[], []], `after step ${step}`)
      assert.equal((await store.verify([], { deep: false, repair: false })).leftovers, 0)
      await store.close()
      addKilledAt(0, folder, work)
    }
    const store = await openStore(testContext(), folder)
    const report = await store.verify(idsOf(work), { deep: true, repair: false })
    assert.deepEqual([report.lost, report.damaged, report.leftovers], [[], [], 0])
    await store.close()
    rmSync(folder, { recursive: true })
    if (!killed) break
  }
  assert.ok(kills >= 8, `only ${kills} durable steps`)
}

test('killed at any durable step: clean, and adding again finishes', () => killedAtEveryStep(20))

test('killed at any durable step of a worker thread: clean, and adding again finishes', () =>
  killedAtEveryStep(400))

test('two processes: one waits for the other, then goes on', async () => {
  const work = workFolder(3)
  const flags = mkdtempSync(join(top, 'flags-'))
  const folder = join(mkdtempSync(join(top, 'repo-')), '.cxv')
  addKilledAt(0, folder, work)
  const holder = spawn(process.execPath, [CHILD, 'hold', folder, flags], { stdio: 'inherit' })
  const ended = new Promise((resolve) => holder.on('close', resolve))
  while (!existsSync(join(flags, 'held'))) await new Promise((resolve) => setTimeout(resolve, 5))
  await assert.rejects(openStore(testContext(), folder, { waitMs: 100 }), (error) =>
    isCxvError(error, 'INDEX_BUSY'),
  )
  const ctx = testContext()
  let waits = 0
  const store = await openStore(ctx, folder, {
    onWait() {
      waits++
      writeFileSync(join(flags, 'go'), '')
    },
  })
  await ended
  assert.ok(waits > 0)
  assert.equal(ctx.events.filter((event) => event.type === 'wait').length >= 1, true)
  assert.equal((await store.missing(idsOf(work))).size, 0)
  await store.close()
})

test('stopped by the user: what was stored is kept, and nothing half-done is left', async () => {
  const work = mkdtempSync(join(top, 'work-'))
  const contents: Record<string, Uint8Array> = {}
  for (let i = 0; i < 400; i++) contents[`f${i}`] = seededBytes(i, 200_000)
  const files = writeFiles(work, contents)
  const folder = join(mkdtempSync(join(top, 'repo-')), '.cxv')
  mkdirSync(folder)
  const stop = new AbortController()
  const store = await openStore(testContext(stop.signal), folder)
  await assert.rejects(async () => {
    for await (const batch of store.addFiles(files, { onBytes: () => stop.abort() })) {
      assert.ok(batch.length > 0)
    }
  }, stop.signal.reason as Error)
  await store.close()
  const again = await openStore(testContext(), folder)
  const report = await again.verify([], { deep: true, repair: false })
  assert.deepEqual([report.lost, report.damaged, report.leftovers], [[], [], 0])
  assert.equal((await addAll(again, files)).length, 400)
  assert.equal((await again.missing(idsOf(work))).size, 0)
  await again.close()
})
