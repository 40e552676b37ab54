import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { createRandom } from '../../src/base/index.ts'
import { openHistory } from '../../src/history/index.ts'
import { machine } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'

const ada = (home: string) => machine(home, 'A Tester')

const filesOf = (git: string): string[] =>
  readdirSync(join(git, 'objects'), { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .map((e) => join(e.parentPath, e.name))
    .sort()

function flip(file: string, at: number): void {
  const bytes = readFileSync(file)
  bytes[at % bytes.length]! ^= 0x11
  chmodSync(file, 0o644)
  writeFileSync(file, bytes)
}

const gitFsck = (git: string): number | null =>
  spawnSync('git', ['--git-dir', git, 'fsck', '--strict']).status

/** A repository of three commits whose history is on a remote too. */
async function scene(top: string) {
  const me = ada(join(top, 'home'))
  const work = join(top, 'work')
  mkdirSync(join(work, 'images'), { recursive: true })
  await me.ok(work, 'init')
  await me.ok(work, 'remote', 'add', 'nas', join(top, 'nas'))
  for (const round of [1, 2, 3]) {
    for (let i = 0; i < 20; i++)
      writeFileSync(join(work, 'images', `${round}-${i}.png`), `${round} ${i}`)
    await me.ok(work, 'add', '.')
    await me.ok(work, 'commit', '-m', `round ${round}`)
  }
  await me.ok(work, 'push', 'nas')
  return { me, work, git: join(work, '.cxv', 'git') }
}

test('a damaged or lost history pack is named, moved aside, and brought again', async (t) => {
  const { me, work, git } = await scene(tempFolder(t, 'history-damage'))
  const sound = filesOf(git)
  const cases: readonly (readonly [what: string, (pack: string) => void])[] = [
    ['a byte of the newest pack flipped', (pack) => flip(pack, 40)],
    ['its index flipped', (pack) => flip(pack.replace(/pack$/, 'idx'), 1100)],
    [
      'the pack deleted',
      (pack) => {
        rmSync(pack)
        rmSync(pack.replace(/pack$/, 'idx'))
      },
    ],
  ]
  for (const [what, damage] of cases) {
    const head = readFileSync(join(git, 'refs/heads/main'), 'utf8').trim()
    const holding = filesOf(git).filter((f) => f.endsWith('.pack'))
    const pack = holding.find((f) => {
      const index = f.replace(/pack$/, 'idx')
      const shown = spawnSync('git', ['show-index'], { input: readFileSync(index) })
      return shown.stdout.toString().includes(head)
    })
    assert.ok(pack !== undefined)
    damage(pack)
    const found = await me.cxv(work, 'fsck')
    assert.equal(found.status, 14, `${what}: ${found.stdout}${found.stderr}`)
    assert.match(found.stdout, /mend: `cxv fsck --repair`/, what)
    await me.cxv(work, 'fsck', '--repair')
    await me.ok(work, 'pull', 'nas')
    assert.match(await me.ok(work, 'fsck'), /^clean$/m, what)
    assert.equal(gitFsck(git), 0, what)
    assert.match(await me.ok(work, 'status'), /nothing to commit/, what)
    assert.equal((await me.ok(work, 'log')).match(/^commit /gm)?.length, 3, what)
  }
  assert.ok(sound.length > 0)
})

test('a byte flipped anywhere in the history is found, and what it leaves sound is kept', async (t) => {
  const { git } = await scene(tempFolder(t, 'history-flips'))
  const seed = Number(process.env['CXV_TEST_SEED'] ?? Date.now() % 1_000_000)
  const random = createRandom(seed)
  t.diagnostic(`CXV_TEST_SEED=${seed}`)
  const files = filesOf(git).filter((f) => /\.(pack|idx)$|objects\/[0-9a-f]{2}\//.test(f))
  const copy = `${git}-copy`
  for (let i = 0; i < 60; i++) {
    rmSync(copy, { recursive: true, force: true })
    cpSync(git, copy, { recursive: true })
    const file = files[random.int(files.length)] ?? ''
    const at = random.int(readFileSync(file).length)
    flip(join(copy, file.slice(git.length)), at)
    const what = `${file.slice(git.length)} at ${at}`
    const history = await openHistory(copy)
    const damage = await history.damagedFiles()
    assert.equal(damage.length, 1, what)
    // Whatever it was, checking tells and does not throw.
    await history.check()
    const moved = await history.repairFiles(`${git}-bad`)
    assert.equal(moved.length, 1, what)
    const after = await openHistory(copy)
    assert.deepEqual(await after.damagedFiles(), [], what)
    if (file.endsWith('.idx')) {
      // The pack is sound, so nothing is lost.
      assert.deepEqual(await after.check(), [], what)
      assert.equal(gitFsck(copy), 0, what)
    }
  }
})
