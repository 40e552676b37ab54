import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type CommitId, contentId } from '../base/index.ts'
import { createHistory, openHistory } from './index.ts'
import type { History, ManifestRow } from './types.ts'

// What real git says about a history that cxv wrote, and what cxv reads after git has repacked it.

const top = mkdtempSync(join(tmpdir(), 'cxv-git-'))
after(() => rmSync(top, { recursive: true, force: true }))
const skip = spawnSync('git', ['--version']).status === 0 ? false : 'git is not installed'

const AUTHOR = { name: 'Ada <Lovelace>\n', email: 'ada @example.org' }

function git(folder: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync('git', ['--git-dir', folder, ...args], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    env: { PATH: process.env['PATH'], HOME: top, GIT_CONFIG_NOSYSTEM: '1', LC_ALL: 'C' },
  })
  assert.equal(status, 0, `git ${args.join(' ')}: ${stderr}`)
  // fsck says what it found on stderr and still ends with 0.
  assert.doesNotMatch(stderr, /error|warning|missing|bad/)
  return stdout
}

const row = (i: number, version = 0): ManifestRow => ({
  path: `images/${String(100_000 + i)}.png`,
  size: 1000 + i,
  executable: false,
  id: contentId(String(i * 1000 + version).padStart(64, '0')),
})

/** Three commits, a side branch and its merge, a tag, a run. */
async function makeStory(): Promise<{
  readonly folder: string
  readonly history: History
  readonly commits: readonly CommitId[]
  readonly run: CommitId
  readonly rows: readonly ManifestRow[]
}> {
  const folder = mkdtempSync(join(top, 'git-'))
  const history = await createHistory(folder, 'main')
  let rows = Array.from({ length: 3000 }, (_, i) => row(i))
  const commits: CommitId[] = []
  const base = { tables: [], author: AUTHOR, zoneMinutes: -120 }
  for (let i = 0; i < 3; i++) {
    const parent = commits.at(-1)
    rows = rows.map((r, j) => (j === 500 * i ? row(j, i + 1) : r))
    const id = await history.writeCommit({
      ...base,
      rows,
      parents: parent === undefined ? [] : [parent],
      message: `commit ${i}  \r\n\n\nbody\u0000\n\n`,
      timeMs: 1_700_000_000_000 + i * 60_000,
    })
    await history.casRef('refs/heads/main', parent ?? null, id, `commit: ${i}`)
    commits.push(id)
  }
  const facts = { author: AUTHOR, timeMs: 1_700_000_600_000, zoneMinutes: 0 }
  const [first, second, third] = commits
  assert.ok(first && second && third)
  const run = await history.writeRecordCommit({
    ...facts,
    files: new Map([
      ['run.json', Buffer.from('{}\n')],
      ['plots/roc.svg', Buffer.from('<svg/>\n')],
    ]),
    parents: [second],
    message: 'run r1: AUROC 0.97',
  })
  await history.casRef('refs/runs/r00000000001', null, run, 'run')
  const tag = await history.writeTag({ ...facts, target: first, name: 'v1', message: 'one' })
  await history.casRef('refs/tags/v1', null, tag, 'tag')
  await history.casRef('refs/heads/old', null, first, 'branch')
  return { folder, history, commits, run, rows }
}

test('git fsck --strict is clean, and git log shows rows, graph and runs', { skip }, async () => {
  const { folder, commits, run } = await makeStory()
  git(folder, 'fsck', '--strict', '--full')
  const patch = git(folder, 'log', '-p', '-1', 'main')
  assert.match(patch, /^-100644 2000 0+1000000\timages\/101000\.png$/m)
  assert.match(patch, /^\+100644 2000 0+1000003\timages\/101000\.png$/m)
  assert.match(patch, /^Author: Ada Lovelace <ada@example.org>$/m)
  assert.match(patch, /\+0200$/m)
  const graph = git(folder, 'log', '--graph', '--all', '--format=%H %P %s')
  const below = graph.split('\n').find((text) => text.includes(run))
  assert.ok(below?.includes(`${commits[1]} run r1: AUROC 0.97`))
  assert.equal(git(folder, 'log', '-1', '--format=%B', 'main~2'), 'commit 0\n\n\nbody\n\n')
  assert.equal(git(folder, 'rev-parse', 'HEAD~1').trim(), commits[1])
  assert.equal(git(folder, 'rev-parse', 'v1^{commit}').trim(), commits[0])
  assert.match(git(folder, 'reflog', 'main'), /main@\{0\}: commit: 2\n.*main@\{1\}: commit: 1\n/)
  assert.equal(git(folder, 'rev-list', '--count', '--objects', '--all').trim().length > 0, true)
})

test('after git gc, its deltas and packed refs read as before', { skip }, async () => {
  const { folder, history, commits, run, rows } = await makeStory()
  git(folder, 'gc', '--aggressive', '--prune=now', '-q')
  assert.ok(existsSync(join(folder, 'packed-refs')))
  assert.equal(existsSync(join(folder, 'refs', 'heads', 'main')), false)
  const packs = readdirSync(join(folder, 'objects', 'pack')).filter((n) => n.endsWith('.pack'))
  assert.equal(packs.length, 1)
  const index = join(folder, 'objects', 'pack', (packs[0] ?? '').replace('.pack', '.idx'))
  assert.match(git(folder, 'verify-pack', '-v', index), /chain length = [1-9]/)
  // The one that was open before git replaced its packs, and a new one.
  for (const reader of [history, await openHistory(folder)]) {
    assert.deepEqual(await reader.manifest(await reader.resolve('main')), rows)
    assert.equal(await reader.resolve('v1'), commits[0])
    assert.equal(await reader.resolve('r00000000001'), run)
    assert.deepEqual(await reader.check(), [])
    const short = (commits[1] ?? '').slice(0, 10)
    assert.equal(await reader.resolve(short), commits[1])
  }
  const pack = await history.exportPack([await history.resolve('main')], [])
  assert.ok(pack)
  const copy = await createHistory(mkdtempSync(join(top, 'copy-')), 'main')
  await copy.importPack(pack)
  assert.deepEqual(await copy.manifest(await history.resolve('main')), rows)
})

test('refs that git has packed move and go as others do', { skip }, async () => {
  const { folder, history, commits } = await makeStory()
  git(folder, 'pack-refs', '--all')
  const [first, second, third] = commits
  assert.ok(first && second && third)
  await history.casRef('refs/heads/main', third, second, 'back')
  assert.equal(git(folder, 'rev-parse', 'main').trim(), second)
  await history.casRef('refs/heads/old', first, null, 'deleted')
  assert.equal(
    git(folder, 'for-each-ref', '--format=%(refname)', 'refs/heads').trim(),
    'refs/heads/main',
  )
  assert.equal(git(folder, 'rev-parse', 'v1^{commit}').trim(), first)
  git(folder, 'fsck', '--strict')
})

test('git agrees with every name that is accepted or refused', { skip }, async () => {
  const { folder, history, commits } = await makeStory()
  const [first] = commits
  assert.ok(first)
  const names = [
    'a',
    'a/b',
    'ü',
    'a.b',
    'a..b',
    '.a',
    'a/.b',
    'a.',
    'a.lock',
    'a.lock/b',
    'a b',
    'a~',
    'a^',
  ]
  names.push(
    'a:b',
    'a?',
    'a*',
    'a[',
    'a\\b',
    'a//b',
    '/a',
    'a/',
    'a@{b',
    '@',
    'a@b',
    'a{b}',
    '\u007f',
    '-',
  )
  for (const name of names) {
    const full = `refs/heads/${name}`
    const { status } = spawnSync('git', ['check-ref-format', full])
    const ours: boolean = await history.casRef(full, null, first, 'name').then(
      () => true,
      () => false,
    )
    if (ours) await history.casRef(full, first, null, 'deleted')
    // A part `@` is refused here, and by git only where it stands for HEAD.
    assert.equal(ours, status === 0 && name !== '@', name)
  }
  git(folder, 'fsck', '--strict')
})
