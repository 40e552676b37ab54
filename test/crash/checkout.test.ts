import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { contentId } from '../../src/base/index.ts'
import { openStore } from '../../src/store/index.ts'
import { CXV, list, type Machine, machine, startProgram } from '../helpers/cli.ts'
import { testContext } from '../helpers/context.ts'
import { seededBytes } from '../helpers/seeded.ts'
import { tempFolder } from '../helpers/temp.ts'
import { addAll, sha256, writeFiles } from '../suites/store.suite.ts'

const namesUnder = (folder: string): readonly string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => !name.startsWith('.cxv/') && statSync(join(folder, name)).isFile())
    .sort()

const TRACKED = ['images/deep/0.png', 'images/deep/1.png', 'images/large.dcm', 'table.csv']

async function lostWorkTree(t: TestContext): Promise<{ ada: Machine; work: string }> {
  const top = tempFolder(t, 'checkout')
  const work = join(top, 'work')
  const ada = machine(join(top, 'ada'))
  mkdirSync(join(work, 'images/deep'), { recursive: true })
  for (const [i, name] of TRACKED.entries())
    writeFileSync(join(work, name), seededBytes(i, name.endsWith('dcm') ? 2_500_000 : 2_000))
  await ada.ok(work, 'init')
  await ada.ok(work, 'add', '.')
  await ada.ok(work, 'commit', '-m', 'data')
  lose(work)
  return { ada, work }
}

const lose = (work: string): void => {
  for (const name of ['images', 'table.csv'])
    rmSync(join(work, name), { recursive: true, force: true })
}

/** @returns whether it was killed */
async function restoreKilledAt(step: number, ada: Machine, work: string): Promise<boolean> {
  const env = { ...ada.env, CXV_TEST_KILL_AT: String(step) }
  const { signal, status, stderr } = await startProgram(process.execPath, [CXV, 'restore', '.'], {
    cwd: work,
    env,
  }).ended
  if (signal === null) assert.equal(status, 0, stderr)
  return signal === 'SIGKILL'
}

test('a checkout killed at any step leaves only tracked names, and the next leaves nothing else', async (t) => {
  const { ada, work } = await lostWorkTree(t)
  const temporaries = join(work, '.cxv/tmp')
  let onTheirWay = 0
  for (let step = 1; ; step++) {
    lose(work)
    const killed = await restoreKilledAt(step, ada, work)
    for (const name of namesUnder(work)) assert.ok(TRACKED.includes(name), `${name} at ${step}`)
    if (!killed) break
    if (!existsSync(temporaries)) continue
    onTheirWay += readdirSync(temporaries).length
    // Every other time it is for the next checkout.
    if (step % 2 === 0) await ada.ok(work, 'fsck')
    else await ada.ok(work, 'restore', '.')
    assert.deepEqual(readdirSync(temporaries), [])
  }
  assert.ok(onTheirWay >= TRACKED.length, `${onTheirWay} files were on their way`)
  assert.deepEqual(namesUnder(work), TRACKED)
  await ada.ok(work, 'add', '.')
  assert.deepEqual(list(await ada.json(work, 'status'), 'staged'), [])
})

const SHARED_MEMORY = '/dev/shm'
const otherFileSystem = (): boolean =>
  existsSync(SHARED_MEMORY) && statSync(SHARED_MEMORY).dev !== statSync(tmpdir()).dev

test(
  'where the work tree is on another file system than .cxv/tmp, all is as it should be',
  { skip: otherFileSystem() ? false : 'there is one file system only' },
  async (t) => {
    const { ada, work } = await lostWorkTree(t)
    const far = mkdtempSync(join(SHARED_MEMORY, 'cxv-test-'))
    t.after(() => rmSync(far, { recursive: true }))
    symlinkSync(far, join(work, '.cxv/tmp'))
    await ada.ok(work, 'restore', '.')
    assert.deepEqual(namesUnder(work), TRACKED)
    for (const [i, name] of TRACKED.entries()) {
      const bytes = seededBytes(i, name.endsWith('dcm') ? 2_500_000 : 2_000)
      assert.ok(readFileSync(join(work, name)).equals(bytes), name)
    }
    assert.deepEqual(readdirSync(far), [])
    assert.match(await ada.ok(work, 'status'), /nothing|clean|no changes/i)

    let hidden = 0
    for (let step = 1; ; step++) {
      lose(work)
      if (!(await restoreKilledAt(step, ada, work))) break
      const leftover = namesUnder(work).filter((name) => !TRACKED.includes(name))
      hidden += leftover.length
      for (const name of leftover) assert.match(name, /^(?:.*\/)?\.cxv-t0\.tmp-/)
      if (leftover.length === 0) continue
      const { staged } = (await ada.json(work, 'add', '.')) as { staged: number }
      assert.equal(staged, 0)
      await ada.ok(work, 'restore', '--staged', '.')
      await ada.ok(work, 'restore', '.')
      assert.deepEqual(namesUnder(work), TRACKED)
    }
    assert.ok(hidden > 0)
  },
)

test('a checkout that is stopped by the user leaves nothing on its way', async (t) => {
  const top = tempFolder(t, 'stop')
  const work = join(top, 'work')
  mkdirSync(work)
  const contents: Record<string, Uint8Array> = {}
  for (let i = 0; i < 1_200; i++) contents[`f${i}`] = seededBytes(i, 60_000)
  const folder = join(top, '.cxv')
  mkdirSync(folder)
  const stop = new AbortController()
  const store = await openStore(testContext(stop.signal), folder)
  await addAll(store, writeFiles(work, contents))
  const out = join(top, 'out')
  mkdirSync(out)
  const files = Object.entries(contents).map(([name, bytes]) => ({
    id: contentId(sha256(bytes)),
    size: bytes.length,
    executable: false,
    absolutePath: join(out, name),
  }))
  await assert.rejects(
    async () => {
      for await (const batch of store.materialise(files, { onBytes: () => stop.abort() })) {
        assert.ok(batch.length > 0)
      }
    },
    (error) => error === stop.signal.reason,
  )
  await store.close()
  assert.deepEqual(readdirSync(join(folder, 'tmp')), [])
  for (const name of readdirSync(out)) {
    assert.ok(name in contents, name)
    assert.equal(statSync(join(out, name)).size, 60_000)
  }
})
