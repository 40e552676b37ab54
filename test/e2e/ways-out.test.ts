import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Machine, number, text } from '../helpers/cli.ts'
import { freshWork } from '../helpers/fresh-work.ts'
import type { CleanUp } from '../helpers/temp.ts'

interface Two {
  readonly top: string
  readonly ada: Machine
  /** Where the first commit was made and pushed from. */
  readonly mine: string
  readonly remote: string
  /** A clone of it. */
  readonly theirs: string
}

async function two(t: CleanUp): Promise<Two> {
  const { top, me: ada, work: mine } = await freshWork(t, 'ways', { 'a.txt': 'a one\n' })
  const theirs = join(top, 'theirs')
  const remote = join(top, 'nas')
  await ada.ok(mine, 'add', '.')
  await ada.ok(mine, 'commit', '-m', 'first')
  await ada.ok(mine, 'remote', 'add', 'origin', remote)
  await ada.ok(mine, 'push')
  await ada.ok(top, 'clone', remote, theirs)
  return { top, ada, mine, remote, theirs }
}

/** Writes a file, adds and commits it. */
async function commit(ada: Machine, work: string, path: string, bytes: string): Promise<void> {
  writeFileSync(join(work, path), bytes)
  await ada.ok(work, 'add', path)
  await ada.ok(work, 'commit', '-m', `${path} is ${bytes.trim()}`)
}

/** Deletes every pack that is there now. */
function losePacks(work: string): void {
  const packs = join(work, '.cxv', 'packs')
  for (const name of readdirSync(packs, { recursive: true, encoding: 'utf8' })) {
    if (name.endsWith('.pack')) rmSync(join(packs, name))
  }
}

test('pull brings back what was lost here, wherever this branch stands to the remote', async (t) => {
  const { ada, mine, theirs } = await two(t)
  await commit(ada, theirs, 'a.txt', 'a two\n')
  await ada.ok(theirs, 'push')
  await ada.ok(mine, 'pull')

  losePacks(mine)
  assert.equal((await ada.cxv(mine, 'fsck')).status, 14)
  const level = await ada.json(mine, 'pull')
  assert.equal(text(level, 'status'), 'up to date')
  assert.equal(number(level, 'fetch', 'contents'), 2, 'of the older version too')
  await ada.ok(mine, 'fsck')
  assert.match(await ada.ok(mine, 'pull'), /nothing new/)

  losePacks(mine)
  await commit(ada, theirs, 'b.txt', 'b\n')
  await ada.ok(theirs, 'push')
  assert.equal(text(await ada.json(mine, 'pull'), 'status'), 'fast forward')
  await ada.ok(mine, 'fsck')

  losePacks(mine)
  await commit(ada, mine, 'c.txt', 'c\n')
  assert.equal(text(await ada.json(mine, 'pull'), 'status'), 'ahead')
  await ada.ok(mine, 'fsck')

  // What the remote never had is told, and the rest comes.
  losePacks(mine)
  const partly = await ada.cxv(mine, 'fetch')
  assert.equal(partly.status, 0, partly.stderr)
  assert.match(partly.stderr, /1 file lost here are not on origin either: c\.txt/)
  assert.match((await ada.cxv(mine, 'fsck')).stdout, /c\.txt/)
  await ada.ok(mine, 'add', 'c.txt')
  await ada.ok(mine, 'fsck')
})

test('a file where a folder is needed, or a folder for a file, is said in words', async (t) => {
  const { top, ada, mine, remote } = await two(t)
  const file = join(top, 'file')
  writeFileSync(file, 'x')
  const half = join(top, 'half')
  mkdirSync(half)
  writeFileSync(join(half, '.cxv'), 'x')
  symlinkSync('loop', join(top, 'loop'))
  await ada.ok(mine, 'remote', 'add', 'wrong', file)
  const calls: readonly (readonly [RegExp, string, ...string[]])[] = [
    [/is a folder, and a file is needed/, mine, 'run', '.'],
    [/a folder is needed/, top, 'init', file],
    [/a folder is needed/, top, 'clone', remote, file],
    [/a folder is needed/, top, 'clone', remote, join(file, 'below')],
    [/a folder is needed/, mine, 'push', 'wrong'],
    [/something else is at .*\.cxv already/, half, 'init'],
    [/links/, top, 'init', 'loop'],
    [/name is too long/, top, 'init', 'n'.repeat(300)],
  ]
  for (const [says, cwd, ...verb] of calls) {
    const failed = await ada.fails(cwd, ...verb)
    assert.equal(
      `${failed.code} ${failed.status}`,
      'FILE_SYSTEM 18',
      `${verb[0]}: ${failed.message}`,
    )
    assert.match(failed.message, says)
    assert.notEqual(failed.hint, '')
  }
  assert.equal(readFileSync(file, 'utf8'), 'x')
  await ada.ok(mine, 'branch', 'deep/er')
  assert.equal((await ada.fails(mine, 'branch', 'deep')).code, 'REF_EXISTS')
})

test('pull with changes here: those it leaves alone stay, and for the others there is a way', async (t) => {
  const { ada, mine, theirs } = await two(t)
  await commit(ada, theirs, 'a.txt', 'a two\n')
  await ada.ok(theirs, 'push')
  writeFileSync(join(mine, 'mine.txt'), 'mine\n')
  await ada.ok(mine, 'add', 'mine.txt')
  assert.equal(text(await ada.json(mine, 'pull'), 'status'), 'fast forward')
  assert.match(await ada.ok(mine, 'status'), /mine\.txt/)

  await commit(ada, theirs, 'a.txt', 'a three\n')
  await ada.ok(theirs, 'push')
  writeFileSync(join(mine, 'a.txt'), 'edited\n')
  const edited = await ada.fails(mine, 'pull')
  await ada.ok(mine, 'add', 'a.txt')
  const staged = await ada.fails(mine, 'pull')
  for (const refused of [edited, staged]) {
    assert.equal(refused.code, 'LOCAL_CHANGES')
    assert.deepEqual(refused.data, { paths: ['a.txt'], count: 1 })
    assert.doesNotMatch(refused.hint, /--force/)
    assert.match(
      refused.hint,
      /cxv switch -c NAME.*cxv restore --staged \. && cxv restore -f PATHS/,
    )
  }
  // Both ways are gone as they are written.
  await ada.ok(mine, 'switch', '-c', 'kept')
  await ada.ok(mine, 'commit', '-m', 'mine')
  await ada.ok(mine, 'switch', 'main')
  writeFileSync(join(mine, 'a.txt'), 'edited again\n')
  await ada.ok(mine, 'add', 'a.txt')
  await ada.ok(mine, 'restore', '--staged', '.')
  await ada.ok(mine, 'restore', '-f', 'a.txt')
  assert.equal(text(await ada.json(mine, 'pull'), 'status'), 'fast forward')
  assert.equal(readFileSync(join(mine, 'a.txt'), 'utf8'), 'a three\n')
  await ada.ok(mine, 'switch', 'kept')
  assert.equal(readFileSync(join(mine, 'a.txt'), 'utf8'), 'edited\n')
})

test('branches that went apart: the way that pull names ends where it can pull again', async (t) => {
  const { ada, mine, theirs } = await two(t)
  await commit(ada, theirs, 'a.txt', 'theirs\n')
  await ada.ok(theirs, 'push')
  await commit(ada, mine, 'a.txt', 'mine\n')
  const refused = await ada.fails(mine, 'pull')
  assert.equal(refused.code, 'NOT_FAST_FORWARD')
  const way = /`(.*)`/.exec(refused.hint)?.[1] ?? ''
  for (const step of way.split(' && ')) {
    const [program, ...words] = step.replace('NAME', 'kept').split(' ')
    assert.equal(program, 'cxv')
    await ada.ok(mine, ...words)
  }
  assert.equal(readFileSync(join(mine, 'a.txt'), 'utf8'), 'theirs\n')
  await commit(ada, theirs, 'a.txt', 'theirs again\n')
  await ada.ok(theirs, 'push')
  const pulled = await ada.json(mine, 'pull')
  assert.equal(
    `${text(pulled, 'branch')} ${text(pulled, 'status')}`,
    'refs/heads/main fast forward',
  )
  await ada.ok(mine, 'switch', 'kept')
  assert.equal(readFileSync(join(mine, 'a.txt'), 'utf8'), 'mine\n')
})

test('switch makes the branch that one remote has, and no other', async (t) => {
  const { top, ada, mine, theirs } = await two(t)
  await ada.ok(theirs, 'switch', '-c', 'relabel')
  await commit(ada, theirs, 'a.txt', 'relabelled\n')
  await ada.ok(theirs, 'push')
  await ada.ok(mine, 'fetch')
  const said = await ada.ok(mine, 'switch', 'relabel')
  assert.match(said, /made from origin\/relabel/)
  assert.match(said, /on relabel/)
  assert.equal(readFileSync(join(mine, 'a.txt'), 'utf8'), 'relabelled\n')
  assert.equal((await ada.fails(mine, 'switch', 'nosuch')).code, 'REV_UNKNOWN')

  // Two remotes have it: which one is meant?
  await ada.ok(mine, 'remote', 'add', 'second', join(top, 'second'))
  await ada.ok(mine, 'push', 'second')
  await ada.ok(mine, 'fetch', 'second')
  await ada.ok(mine, 'switch', 'main')
  await ada.ok(mine, 'branch', '-d', 'relabel')
  assert.equal((await ada.fails(mine, 'switch', 'relabel')).code, 'REV_UNKNOWN')
})

test('clone of a branch that is not there makes nothing', async (t) => {
  const { top, ada, remote } = await two(t)
  const failed = await ada.fails(top, 'clone', remote, 'c1', '-b', 'nosuch')
  assert.equal(failed.code, 'REV_UNKNOWN')
  assert.match(failed.hint, /main/)
  assert.ok(!existsSync(join(top, 'c1')))
  await ada.ok(top, 'clone', remote, 'c1', '-b', 'main')
})
