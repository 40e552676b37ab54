import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isCxvError } from '../base/index.ts'
import { testContext } from '../../test/helpers/context.ts'
import { tempFolder } from '../../test/helpers/temp.ts'
import { acquireLock, type LockHolder } from './lock.ts'

/** Above every pid_max. */
const NO_PROCESS = 2 ** 30

/** A lock file as this process would write it, with these fields changed. */
async function lockWith(path: string, changed: Partial<LockHolder>): Promise<void> {
  const lock = await acquireLock(testContext(), path, 'add', 0)
  const own = JSON.parse(readFileSync(path, 'utf8')) as LockHolder
  lock.release()
  writeFileSync(path, JSON.stringify({ ...own, ...changed }))
}

test('a lock whose process is gone is taken over; nothing is left behind', async (t) => {
  const folder = tempFolder(t)
  const path = join(folder, 'lock')
  await lockWith(path, { pid: NO_PROCESS })
  const lock = await acquireLock(testContext(), path, 'commit', 0)
  assert.deepEqual(readdirSync(folder), ['lock'])
  lock.release()
  assert.equal(existsSync(path), false)
})

const unseen: Readonly<Record<string, Partial<LockHolder>>> = {
  'another host': { host: 'elsewhere' },
  'another machine of this name': { machine: 'f'.repeat(16), boot: 'another' },
  'another pid namespace': { pidNamespace: 'pid:[1]' },
  'another machine of this name, both without an id': { machine: '', boot: 'another' },
}
for (const [where, changed] of Object.entries(unseen)) {
  test(`a lock of ${where} is never taken over, and its holder is named`, async (t) => {
    const path = join(tempFolder(t), 'lock')
    await lockWith(path, { pid: NO_PROCESS, ...changed })
    const before = readFileSync(path)
    await assert.rejects(acquireLock(testContext(), path, 'commit', 0), (error) => {
      assert.ok(isCxvError(error, 'REPO_LOCKED'))
      assert.match(error.message, /add \(process \d+ on .*cannot be looked at from here/)
      assert.ok(error.hint?.includes(`remove ${path}`))
      return true
    })
    assert.deepEqual(readFileSync(path), before)
  })
}

test('a stale lock that another process is removing is left to it', async (t) => {
  const folder = tempFolder(t)
  const path = join(folder, 'lock')
  await lockWith(path, { pid: NO_PROCESS })
  const name = createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 16)
  writeFileSync(`${path}.break-${name}`, '')
  await assert.rejects(acquireLock(testContext(), path, 'commit', 0), (error) =>
    isCxvError(error, 'REPO_LOCKED'),
  )
  // A minute later the one that was removing it is taken for dead.
  const later = { ...testContext(), now: () => Date.now() + 61_000 }
  ;(await acquireLock(later, path, 'commit', 1_000)).release()
  assert.deepEqual(readdirSync(folder), [])
})

test('processes that die with the lock: never two inside', async (t) => {
  const folder = tempFolder(t)
  const log = join(folder, 'log')
  const child = fileURLToPath(new URL('../../test/helpers/lock-child.js', import.meta.url))
  const die = (times: number): Promise<NodeJS.Signals | null> =>
    new Promise((resolve, reject) => {
      spawn(process.execPath, [child, join(folder, 'lock'), log, `${times}`], { stdio: 'inherit' })
        .on('error', reject)
        .on('close', (_status, signal) => resolve(signal))
    })
  const loop = async (first: number): Promise<void> => {
    for (let i = 0; i < 5; i++) assert.equal(await die(1 + ((first + i) % 3)), 'SIGKILL')
  }
  await Promise.all(Array.from({ length: 8 }, (_, i) => loop(i)))
  const lines = readFileSync(log, 'utf8').trim().split('\n')
  assert.ok(lines.length >= 80)
  for (let i = 0; i < lines.length; i += 2) {
    const pid = lines[i]?.split(' ')[1]
    assert.deepEqual(lines.slice(i, i + 2), [`enter ${pid}`, `leave ${pid}`], `line ${i}`)
  }
})
