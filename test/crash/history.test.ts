import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openHistory } from '../../src/history/index.ts'
import { imageRows } from '../helpers/rows.ts'

const top = mkdtempSync(join(tmpdir(), 'cxv-history-crash-'))
after(() => rmSync(top, { recursive: true, force: true }))

const CHILD = fileURLToPath(new URL('../helpers/history-child.js', import.meta.url))

function child(verb: string, folder: string, arg = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const started = spawn(process.execPath, [CHILD, verb, folder, arg])
    let out = ''
    started.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    started.stderr.pipe(process.stderr)
    started.on('error', reject)
    started.on('close', (status) =>
      status === 0 ? resolve(out) : reject(new Error(`${verb} ended with ${status}`)),
    )
  })
}

const gitIsHere = spawnSync('git', ['--version']).status === 0

function gitFsck(folder: string): void {
  if (!gitIsHere) return
  const { status, stderr } = spawnSync('git', ['--git-dir', folder, 'fsck', '--strict', '--full'], {
    encoding: 'utf8',
    env: { ...process.env, GIT_CONFIG_NOSYSTEM: '1', HOME: top },
  })
  assert.equal(status, 0, stderr)
  assert.equal(stderr.replace(/^notice:.*\n/gm, ''), '')
}

/** The story without a kill ends here: commit ids are a function of what is committed. */
async function whole(): Promise<{ readonly id: string }> {
  const folder = mkdtempSync(join(top, 'whole-'))
  return { id: await child('story', folder) }
}

test('killed at any durable step: the old or the new commit, and the same verb finishes', async () => {
  const { id } = await whole()
  const rows = imageRows(600)
  let step = 0
  for (let ended = false; !ended;) {
    step++
    const folder = mkdtempSync(join(top, 'kill-'))
    const { signal, status } = spawnSync(process.execPath, [CHILD, 'story', folder], {
      env: { ...process.env, CXV_TEST_KILL_AT: String(step) },
    })
    ended = status === 0
    assert.ok(ended || signal === 'SIGKILL')
    const history = await openHistory(folder).catch(() => undefined)
    if (history !== undefined) {
      gitFsck(folder)
      assert.deepEqual(await history.check(), [])
      const { commit } = await history.head()
      const seen = commit === null ? 0 : (await history.manifest(commit)).length
      assert.ok([0, rows.length, rows.length + 1].includes(seen), `${seen} rows at step ${step}`)
    }
    if (step % 4 === 0 || ended) {
      assert.equal(await child('story', folder), id)
      gitFsck(folder)
      const again = await openHistory(folder)
      assert.deepEqual(await again.check(), [])
      const names = (await again.refs('refs/')).map((row) => row.name)
      assert.deepEqual(names, ['refs/heads/main', 'refs/tags/v1'])
    }
    rmSync(folder, { recursive: true })
  }
  assert.ok(step > 25, `${step} steps`)
})

test('processes race to move a ref from one commit: exactly one wins each round', async () => {
  const folder = mkdtempSync(join(top, 'race-'))
  await child('story', folder)
  const history = await openHistory(folder)
  for (let round = 0; round < 4; round++) {
    const { commit } = await history.head()
    const results = await Promise.all(
      Array.from({ length: 5 }, (_, i) => child('race', folder, `${commit} ${round}.${i}`)),
    )
    assert.deepEqual(results.sort(), ['lost', 'lost', 'lost', 'lost', 'won'])
    const log = await history.reflog('refs/heads/main')
    assert.equal(log.length, 3 + round)
    assert.equal(log[0]?.from, commit)
  }
  gitFsck(folder)
})

test('two processes that append at once lose no commit', async () => {
  const folder = mkdtempSync(join(top, 'append-'))
  await child('story', folder)
  await Promise.all([child('append', folder, '40 a'), child('append', folder, '40 b')])
  const history = await openHistory(folder)
  let count = 0
  for (let at = await history.ref('refs/heads/main'); at !== null; count++) {
    at = (await history.facts(at)).parents[0] ?? null
  }
  assert.equal(count, 2 + 80)
  gitFsck(folder)
})
