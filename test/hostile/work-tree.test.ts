import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { type CommitId, type ErrorCode, isCxvError } from '../../src/base/index.ts'
import {
  checkoutCommit,
  computeStatus,
  restorePaths,
  stageFiles,
  unstagePaths,
} from '../../src/repo/index.ts'
import { tempFolder } from '../helpers/temp.ts'
import { type WorkTree, workTree } from '../helpers/work-tree.ts'

interface Scene {
  readonly tree: WorkTree
  /** A folder beside the repository that nothing may touch. */
  readonly outside: string
  readonly first: CommitId
  readonly second: CommitId
  read(path: string): string
}

/** Two versions; the second is checked out. */
async function scene(t: TestContext): Promise<Scene> {
  const top = tempFolder(t, 'tree')
  const tree = await workTree(join(top, 'repo'))
  const outside = join(top, 'outside')
  mkdirSync(outside)
  for (const name of ['a.png', 'b.png', 'new.png']) writeFileSync(join(outside, name), 'theirs')
  tree.write({ 'images/a.png': 'a one', 'images/b.png': 'b one', 'table.csv': 'k\n1\n' })
  const first = await tree.commit('first')
  tree.write({ 'images/a.png': 'a two', 'images/new.png': 'n two', 'deep/er/c.png': 'c two' })
  rmSync(join(tree.root, 'table.csv'))
  const second = await tree.commit('second')
  return {
    tree,
    outside,
    first,
    second,
    read: (path) => readFileSync(join(tree.root, path), 'utf8'),
  }
}

const goTo = ({ tree }: Scene, commit: CommitId, force = false) =>
  tree.with((repo) =>
    checkoutCommit(tree.ctx, repo, commit, { branch: null, reason: 'test', force }),
  )

const refused = (code: ErrorCode) => (error: unknown) => isCxvError(error, code)

const untouched = (outside: string): void => {
  assert.deepEqual(readdirSync(outside).sort(), ['a.png', 'b.png', 'new.png'])
  for (const name of readdirSync(outside))
    assert.equal(readFileSync(join(outside, name), 'utf8'), 'theirs')
}

test('checkout goes there and back, and leaves untracked files and no empty folders', async (t) => {
  const s = await scene(t)
  s.tree.write({ 'images/mine.txt': 'untracked' })
  await goTo(s, s.first)
  assert.equal(s.read('images/a.png'), 'a one')
  assert.equal(s.read('table.csv'), 'k\n1\n')
  assert.ok(!existsSync(join(s.tree.root, 'deep')))
  assert.ok(!existsSync(join(s.tree.root, 'images/new.png')))
  assert.equal(s.read('images/mine.txt'), 'untracked')
  await goTo(s, s.second)
  assert.equal(s.read('deep/er/c.png'), 'c two')
  const status = await s.tree.with((repo) => computeStatus(s.tree.ctx, repo))
  assert.deepEqual(status.unstaged, [{ path: 'images/mine.txt', state: 'untracked', size: 9 }])
})

test('a local edit is never overwritten, not even one that keeps size and times', async (t) => {
  const s = await scene(t)
  const file = join(s.tree.root, 'images/a.png')
  const { atime, mtime } = statSync(file)
  writeFileSync(file, 'EDIT!')
  utimesSync(file, atime, mtime)
  await assert.rejects(goTo(s, s.first), refused('LOCAL_CHANGES'))
  assert.equal(s.read('images/a.png'), 'EDIT!')
  // Nothing at all was done: the other files are those of the second version.
  assert.equal(s.read('images/new.png'), 'n two')
  assert.ok(!existsSync(join(s.tree.root, 'table.csv')))
  const restore = (force: boolean) =>
    s.tree.with((repo) =>
      restorePaths(s.tree.ctx, repo, ['images'], { staged: false, force, source: s.first }),
    )
  await assert.rejects(restore(false), refused('LOCAL_CHANGES'))
  assert.equal(s.read('images/a.png'), 'EDIT!')
  await restore(true)
  assert.equal(s.read('images/a.png'), 'a one')
})

test('an edited file that the other version lacks is not removed', async (t) => {
  const s = await scene(t)
  s.tree.write({ 'images/new.png': 'edited' })
  await assert.rejects(goTo(s, s.first), refused('LOCAL_CHANGES'))
  assert.equal(s.read('images/new.png'), 'edited')
})

test('an untracked file in the way is kept; one with the very bytes is no obstacle', async (t) => {
  const s = await scene(t)
  s.tree.write({ 'table.csv': 'precious' })
  await assert.rejects(goTo(s, s.first), refused('LOCAL_CHANGES'))
  assert.equal(s.read('table.csv'), 'precious')
  s.tree.write({ 'table.csv': 'k\n1\n' })
  await goTo(s, s.first)
  assert.equal(s.read('table.csv'), 'k\n1\n')
})

test('staged changes are not lost by going elsewhere: they come along, or nothing moves', async (t) => {
  const s = await scene(t)
  const stage = (path: string) =>
    s.tree.with((repo) => stageFiles(s.tree.ctx, repo, s.tree.root, [path]))
  const staged = async () =>
    (await s.tree.with((repo) => computeStatus(s.tree.ctx, repo))).staged.map((f) => f.path)
  s.tree.write({ 'images/staged.png': 'staged', 'images/b.png': 'b staged' })
  await stage('images')
  await goTo(s, s.first)
  assert.deepEqual(await staged(), ['images/b.png', 'images/staged.png'])
  assert.equal(s.read('images/b.png'), 'b staged')
  assert.equal(s.read('images/a.png'), 'a one')

  // The versions differ at this path; and at the next the other one has a folder.
  s.tree.write({ 'images/a.png': 'a staged' })
  await stage('images/a.png')
  await assert.rejects(goTo(s, s.second), refused('LOCAL_CHANGES'))
  s.tree.write({ 'images/a.png': 'a one', 'deep/er': 'a file' })
  await stage('images/a.png')
  await stage('deep/er')
  rmSync(join(s.tree.root, 'deep'), { recursive: true })
  await assert.rejects(goTo(s, s.second), refused('LOCAL_CHANGES'))
  assert.deepEqual(await staged(), ['deep/er', 'images/b.png', 'images/staged.png'])
})

test('a folder that became a link is not written through, with or without force', async (t) => {
  for (const force of [false, true]) {
    const s = await scene(t)
    renameSync(join(s.tree.root, 'images'), join(s.tree.root, 'moved'))
    symlinkSync(s.outside, join(s.tree.root, 'images'))
    await assert.rejects(goTo(s, s.first, force), refused('SYMLINK_IN_WAY'))
    untouched(s.outside)
  }
})

test('a file that became a link: the link may be replaced by force, its target never', async (t) => {
  const s = await scene(t)
  const file = join(s.tree.root, 'images/a.png')
  rmSync(file)
  symlinkSync(join(s.outside, 'a.png'), file)
  await assert.rejects(goTo(s, s.first), refused('LOCAL_CHANGES'))
  untouched(s.outside)
  await goTo(s, s.first, true)
  untouched(s.outside)
  assert.equal(s.read('images/a.png'), 'a one')
})

test('rm deletes nothing behind a link, with or without force', async (t) => {
  for (const force of [false, true]) {
    const s = await scene(t)
    renameSync(join(s.tree.root, 'images'), join(s.tree.root, 'moved'))
    symlinkSync(s.outside, join(s.tree.root, 'images'))
    const remove = s.tree.with((repo) =>
      unstagePaths(s.tree.ctx, repo, ['images'], { keepFiles: false, force }),
    )
    await assert.rejects(remove, refused('SYMLINK_IN_WAY'))
    untouched(s.outside)
  }
})

test('rm keeps an edited file unless forced', async (t) => {
  const s = await scene(t)
  s.tree.write({ 'images/a.png': 'EDIT!' })
  const remove = (force: boolean) =>
    s.tree.with((repo) => unstagePaths(s.tree.ctx, repo, ['images'], { keepFiles: false, force }))
  await assert.rejects(remove(false), refused('LOCAL_CHANGES'))
  assert.equal(s.read('images/a.png'), 'EDIT!')
  assert.ok(existsSync(join(s.tree.root, 'images/b.png')))
  await remove(true)
  assert.ok(!existsSync(join(s.tree.root, 'images')))
})

test('add goes through no link: not a folder, not a file, not by a pattern', async (t) => {
  const s = await scene(t)
  symlinkSync(s.outside, join(s.tree.root, 'linked'))
  symlinkSync(join(s.outside, 'a.png'), join(s.tree.root, 'one.png'))
  const add = (...paths: string[]) =>
    s.tree.with((repo) => stageFiles(s.tree.ctx, repo, s.tree.root, paths))
  await assert.rejects(add('linked/a.png'), refused('SYMLINK_IN_WAY'))
  await add('.')
  await add('one.png')
  await add('linked/*.png').catch(() => undefined)
  const status = await s.tree.with((repo) => computeStatus(s.tree.ctx, repo))
  assert.deepEqual(status.staged, [])
})

test('a folder of tracked files gives way to a file and comes back', async (t) => {
  const s = await scene(t)
  rmSync(join(s.tree.root, 'images'), { recursive: true })
  s.tree.write({ images: 'now a file' })
  const third = await s.tree.commit('third')
  await goTo(s, s.second)
  assert.equal(s.read('images/b.png'), 'b one')
  await goTo(s, third)
  assert.equal(s.read('images'), 'now a file')
  await goTo(s, s.second)
  s.tree.write({ 'images/untracked.txt': 'precious' })
  await assert.rejects(goTo(s, third))
  assert.equal(s.read('images/untracked.txt'), 'precious')
})
