import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { commitId, utf8 } from '../base/index.ts'
import type { CacheSpace } from '../store/types.ts'
import { workTree } from '../../test/helpers/work-tree.ts'
import { readStatusRecord, writeStatusRecord } from './status-record.ts'
import { computeStatus } from './status.ts'
import { stageFiles } from './add.ts'

const COMMIT = commitId('ab'.repeat(20))
const FOR = { commit: COMMIT, partial: false }

function memoryCache(): CacheSpace {
  const rows = new Map<string, Uint8Array>()
  const space: Pick<CacheSpace, 'get' | 'write'> = {
    get: (key) => Promise.resolve(rows.get(key)),
    write(changes) {
      for (const [key, value] of changes) {
        if (value === undefined) rows.delete(key)
        else rows.set(key, value)
      }
      return Promise.resolve()
    },
  }
  return space as CacheSpace
}

const row = { path: 'a\n".png', state: 'modified' as const, size: 3 }
const record = {
  walk: Uint8Array.from({ length: 64 }, (_, i) => i * 3),
  status: { unstaged: [row], notCheckedOut: 0, tracked: 9, trackedBytes: 12 },
}

test('a record comes back for its commit, and for no other', async () => {
  const cache = memoryCache()
  assert.equal(await readStatusRecord(cache, FOR), undefined)
  await writeStatusRecord(cache, FOR, record)
  const back = await readStatusRecord(cache, FOR)
  assert.deepEqual(back?.status, record.status)
  assert.deepEqual(new Uint8Array(back?.walk ?? []), record.walk)
  const other = commitId('cd'.repeat(20))
  assert.equal(await readStatusRecord(cache, { ...FOR, commit: other }), undefined)
  assert.equal(await readStatusRecord(cache, { ...FOR, partial: true }), undefined)
})

test('one that would tell too much takes the place of the last all the same', async () => {
  const cache = memoryCache()
  await writeStatusRecord(cache, FOR, record)
  const unstaged = Array.from({ length: 1_001 }, () => row)
  await writeStatusRecord(cache, FOR, { ...record, status: { ...record.status, unstaged } })
  assert.equal(await readStatusRecord(cache, FOR), undefined)
})

test('a damaged record is none', async () => {
  const cache = memoryCache()
  await writeStatusRecord(cache, FOR, record)
  const text = Buffer.from((await cache.get('status')) ?? []).toString()
  const broken = [
    text.slice(0, -1),
    'null',
    text.replace('"version":1', '"version":2'),
    text.replace('"modified"', '"eaten"'),
    text.replace('"tracked":9', '"tracked":"9"'),
    text.replace('"unstaged":[', '"unstaged":[7,'),
    text.replace(/"walk":"[^"]*"/, '"walk":7'),
  ]
  for (const value of broken) {
    assert.notEqual(value, text)
    await cache.write([['status', utf8(value)]])
    assert.equal(await readStatusRecord(cache, FOR), undefined, value)
  }
})

test('of many files, status reads the manifest again only when something changed', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'cxv-status-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  const tree = await workTree(root)
  const many = Array.from({ length: 16_400 }, (_, i) => [`f${i % 20}/${i}`, `${i}`] as const)
  tree.write(Object.fromEntries(many))
  await tree.commit('many')
  // A minute later, all that was hashed was hashed long after its last change.
  const ctx = { ...tree.ctx, now: () => Date.now() + 60_000 }
  const look = (): Promise<{ found: readonly string[]; reads: number }> =>
    tree.with(async (repo) => {
      let reads = 0
      const manifest: typeof repo.history.manifest = (...args) => {
        reads++
        return repo.history.manifest(...args)
      }
      const status = await computeStatus(ctx, { ...repo, history: { ...repo.history, manifest } })
      assert.equal(status.tracked, 16_400)
      const rows = [
        ...status.staged.map((s) => [s.path, s.change]),
        ...status.unstaged.map((u) => [u.path, u.state]),
      ]
      return { found: rows.map((r) => r.join(' ')), reads }
    })
  const twice = async (found: readonly string[]): Promise<void> => {
    assert.deepEqual(await look(), { found, reads: 1 })
    assert.deepEqual(await look(), { found, reads: 0 })
  }
  // The first hashes all, the second keeps what it found.
  assert.deepEqual(await look(), { found: [], reads: 1 })
  await twice([])
  rmSync(join(root, 'f3/3'))
  await twice(['f3/3 deleted'])
  tree.write({ 'f5/new': 'new' })
  await twice(['f3/3 deleted', 'f5/new untracked'])
  chmodSync(join(root, 'f4/4'), 0o755)
  await twice(['f3/3 deleted', 'f4/4 modified', 'f5/new untracked'])
  rmSync(join(root, 'f5/new'))
  chmodSync(join(root, 'f4/4'), 0o644)
  tree.write({ 'f3/3': '3' })
  // One of the same size, and its old time set back.
  const long = new Date(1e12)
  writeFileSync(join(root, 'f6/6'), '9')
  utimesSync(join(root, 'f6/6'), long, long)
  assert.deepEqual((await look()).found, ['f6/6 modified'])
  // Bytes that differ are read each time, as the cache keeps only what is as tracked.
  assert.deepEqual(await look(), { found: ['f6/6 modified'], reads: 1 })
  await tree.with((repo) => stageFiles(ctx, repo, root, ['f6/6']))
  assert.deepEqual(await look(), { found: ['f6/6 changed'], reads: 1 })
  assert.deepEqual(await look(), { found: ['f6/6 changed'], reads: 1 })
  await tree.commit('other')
  await twice([])
  // A name that has U+FFFD by right, unlike bytes that are no UTF-8.
  tree.write({ 'f7/\ufffd': 'replaced' })
  await twice(['f7/\ufffd untracked'])
  // Tracked and ignored: the thread does not see it, so nothing is kept.
  tree.write({ '.cxvignore': 'f7\n' })
  rmSync(join(root, 'f7/\ufffd'))
  assert.deepEqual(await look(), { found: ['.cxvignore untracked'], reads: 1 })
  writeFileSync(join(root, 'f7/7'), '!')
  assert.deepEqual((await look()).found, ['.cxvignore untracked', 'f7/7 modified'])
})
