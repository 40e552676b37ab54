import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Ended, list, type Machine, machine, program, text } from '../helpers/cli.ts'
import { createKiller, type Killer } from '../helpers/kills.ts'
import { seededBytes } from '../helpers/seeded.ts'
import { type CleanUp, tempFolder } from '../helpers/temp.ts'

const ROUNDS = 10

/** What one round adds: small files in two folders, one of several chunks, and one that changes each time. */
function writeRound(work: string, round: number): void {
  for (const folder of ['a', 'b']) {
    mkdirSync(join(work, 'images', folder), { recursive: true })
    for (let i = 0; i < 15; i++) {
      const bytes = seededBytes(round * 100 + i, 20_000 + i)
      writeFileSync(join(work, 'images', folder, `${round}-${i}.png`), bytes)
    }
  }
  writeFileSync(join(work, 'images', `${round}.dcm`), seededBytes(round + 7_000, 2_500_000))
  writeFileSync(join(work, 'table.csv'), `key,round\n${round},${round}\n`)
}

/** A verb killed on its way, `fsck`, and the same verb again. */
async function killedThenDone(
  killer: Killer,
  who: Machine,
  cwd: string,
  ...args: readonly string[]
): Promise<Ended> {
  const killed = await killer.kill(who, cwd, ...args)
  // What is there under another name than its own would be added with the next folder.
  for (const line of idsUnder(cwd)) assert.doesNotMatch(line, /tmp-/, `after a killed ${args[0]}`)
  const fsck = await who.cxv(cwd, 'fsck')
  assert.equal(fsck.status, 0, `fsck after a killed ${args[0]}: ${fsck.stdout}${fsck.stderr}`)
  if (killed.signal === null) assert.equal(killed.status, 0, killed.stderr)
  return killer.time(who, cwd, ...args)
}

const idsUnder = (folder: string): readonly string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile() && !e.parentPath.includes('.cxv'))
    .map((e) => {
      const bytes = readFileSync(join(e.parentPath, e.name))
      return `${e.name} ${createHash('sha256').update(bytes).digest('hex')}`
    })
    .sort()

async function stream(t: CleanUp, killer: Killer): Promise<void> {
  const top = tempFolder(t, 'kill')
  const remote = join(top, 'remote')
  const work = join(top, 'work')
  const copy = join(top, 'copy')
  const ada = machine(join(top, 'ada'))
  const bob = machine(join(top, 'bob'), 'Bob Tester')
  mkdirSync(work)
  writeRound(work, 0)
  await ada.ok(work, 'init')
  await ada.ok(work, 'remote', 'add', 'origin', remote)
  for (const args of [['add', '.'], ['commit', '-m', 'round 0'], ['push']])
    assert.equal((await killer.time(ada, work, ...args)).status, 0)
  await bob.ok(top, 'clone', remote, 'copy')
  await killer.time(bob, copy, 'pull')

  for (let round = 1; round <= ROUNDS; round++) {
    writeRound(work, round)
    const added = await killedThenDone(killer, ada, work, 'add', '.')
    assert.equal(added.status, 0, added.stderr)

    const message = `round ${round}`
    const committed = await killedThenDone(killer, ada, work, 'commit', '-m', message)
    // The killed one may have come as far as moving the branch: then nothing is left to commit.
    if (committed.status !== 0) assert.match(committed.stderr, /\[NOTHING_TO_DO\]/)
    const log = list(await ada.json(work, 'log'), 'commits')
    assert.equal(text(log[0], 'message').trim(), message)
    assert.equal(log.length, round + 1)
    assert.match(await ada.ok(work, 'status'), /nothing|clean|no changes/i)

    const pushed = await killedThenDone(killer, ada, work, 'push')
    assert.equal(pushed.status, 0, pushed.stderr)
    const pulled = await killedThenDone(killer, bob, copy, 'pull')
    assert.equal(pulled.status, 0, pulled.stderr)
    assert.deepEqual(idsUnder(copy), idsUnder(work))
  }
  for (const folder of [work, copy])
    await program('git', ['--git-dir', join(folder, '.cxv/git'), 'fsck', '--strict'])
}

test('killed at 20 random moments of add, commit, push and pull: clean, and the verb finishes', async (t) => {
  const killer = createKiller()
  t.diagnostic(`CXV_TEST_SEED=${killer.seed}`)
  const second = createKiller(killer.seed + 1)
  await Promise.all([stream(t, killer), stream(t, second)])
  for (const verb of ['add', 'commit', 'push', 'pull']) {
    const kills = (killer.kills[verb] ?? 0) + (second.kills[verb] ?? 0)
    t.diagnostic(`${verb}: ${kills} of ${2 * ROUNDS} were killed before they ended`)
    assert.ok(kills >= ROUNDS / 2, `only ${kills} kills of ${verb} came in time`)
  }
})

test('two processes adding at once both succeed', async (t) => {
  const top = tempFolder(t, 'two-adds')
  const ada = machine(join(top, 'home'))
  const work = join(top, 'work')
  for (const folder of ['left', 'right', 'both']) {
    mkdirSync(join(work, folder), { recursive: true })
    for (let i = 0; i < 60; i++)
      writeFileSync(join(work, folder, `${i}.png`), seededBytes(i, 30_000 + folder.length))
  }
  await ada.ok(work, 'init')
  const ends = await Promise.all([
    ada.cxv(work, 'add', 'left', 'both'),
    ada.cxv(work, 'add', 'right', 'both'),
  ])
  for (const { status, stderr } of ends) assert.equal(status, 0, stderr)
  await ada.ok(work, 'commit', '-m', 'both')
  assert.equal(list(await ada.json(work, 'ls'), 'files').length, 180)
  await ada.ok(work, 'fsck')
})
