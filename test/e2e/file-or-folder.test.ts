import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { at, list, type Machine, program, text } from '../helpers/cli.ts'
import { type FreshWork, freshWork } from '../helpers/fresh-work.ts'

type Scene = Omit<FreshWork, 'me'> & { readonly ada: Machine }

async function scene(t: TestContext, files: Readonly<Record<string, string>>): Promise<Scene> {
  const { me: ada, ...rest } = await freshWork(t, 'file-or-folder', files)
  await ada.ok(rest.work, 'add', '.')
  await ada.ok(rest.work, 'commit', '-m', 'first')
  return { ada, ...rest }
}

const pathsOf = async ({ ada, work }: Scene): Promise<readonly string[]> =>
  list(await ada.json(work, 'ls'), 'files').map((file) => text(file, 'path'))

/** All that once stopped working, and a clone. */
async function worksOn(s: Scene, paths: readonly string[]): Promise<void> {
  const { ada, work, top } = s
  assert.deepEqual(await pathsOf(s), paths)
  assert.match(await ada.ok(work, 'status'), /nothing|clean|no changes/i)
  await ada.ok(work, 'fsck')
  await ada.ok(work, 'diff', 'HEAD~1', 'HEAD')
  await ada.ok(work, 'remote', 'add', 'origin', join(top, 'remote'))
  await ada.ok(work, 'push')
  await ada.ok(top, 'clone', join(top, 'remote'), 'copy')
  for (const path of paths)
    assert.equal(
      readFileSync(join(top, 'copy', path), 'utf8'),
      readFileSync(join(work, path), 'utf8'),
    )
}

test('a tracked file that became a folder: adding what is in it stages the file as removed', async (t) => {
  const s = await scene(t, { a: 'one', 'a-b': 'beside' })
  rmSync(join(s.work, 'a'))
  s.write({ 'a/b': 'two', 'a/c': 'three' })
  const added = await s.ada.json(s.work, 'add', 'a/b', 'a/c')
  assert.deepEqual([at(added, 'staged'), at(added, 'removed')], [2, 1])
  await s.ada.ok(s.work, 'commit', '-m', 'a folder')
  await worksOn(s, ['a-b', 'a/b', 'a/c'])
  await s.ada.ok(s.work, 'switch', '--detach', 'HEAD~1')
  assert.equal(readFileSync(join(s.work, 'a'), 'utf8'), 'one')
})

test('a tracked folder that became a file: adding it stages what was in it as removed', async (t) => {
  const s = await scene(t, { 'd/x': 'one', 'd/deep/y': 'two', 'd-e': 'beside' })
  rmSync(join(s.work, 'd'), { recursive: true })
  s.write({ d: 'a file' })
  const added = await s.ada.json(s.work, 'add', 'd')
  assert.deepEqual([at(added, 'staged'), at(added, 'removed')], [1, 2])
  await s.ada.ok(s.work, 'commit', '-m', 'a file')
  await worksOn(s, ['d', 'd-e'])
})

test('both turns in one add, staged and turned back before the commit', async (t) => {
  const s = await scene(t, { a: 'one', 'd/x': 'two' })
  const turn = (...gone: readonly string[]): void => {
    for (const name of gone) rmSync(join(s.work, name), { recursive: true })
  }
  turn('a', 'd')
  s.write({ 'a/b': 'three', d: 'four' })
  await s.ada.ok(s.work, 'add', 'a/b', 'd')
  assert.deepEqual(await pathsOf(s), ['a/b', 'd'])
  turn('a', 'd')
  s.write({ a: 'one', 'd/x': 'two' })
  await s.ada.ok(s.work, 'add', 'a', 'd/x')
  const { code } = await s.ada.fails(s.work, 'commit', '-m', 'nothing')
  assert.equal(code, 'NOTHING_TO_DO')
  turn('a')
  mkdirSync(join(s.work, 'a'))
  await s.ada.ok(s.work, 'add', 'a')
  await s.ada.ok(s.work, 'commit', '-m', 'an empty folder')
  assert.deepEqual(await pathsOf(s), ['d/x'])
})

test('a stage that has both is not committed, and the hint of the refusal mends it', async (t) => {
  const s = await scene(t, { 'd/x': 'one', other: 'two' })
  rmSync(join(s.work, 'd'), { recursive: true })
  s.write({ d: 'a file' })
  await s.ada.ok(s.work, 'add', 'd')
  await s.ada.ok(s.work, 'restore', '--staged', 'd/x')
  const refused = await s.ada.fails(s.work, 'commit', '-m', 'both')
  assert.equal(refused.code, 'PATH_UNSUPPORTED')
  assert.match(refused.message, /d would be a file and a folder/)
  assert.match(refused.hint, /cxv add d/)
  assert.equal(list(await s.ada.json(s.work, 'log'), 'commits').length, 1)
  await s.ada.ok(s.work, 'add', 'd')
  await s.ada.ok(s.work, 'commit', '-m', 'a file')
  assert.deepEqual(await pathsOf(s), ['d', 'other'])
})

/** A commit on main with `a` and `a/b`, as a version of cxv that did not refuse it wrote one. */
async function commitBoth({ ada, work }: Scene): Promise<void> {
  const folder = join(work, '.cxv/git')
  const git = async (...args: readonly string[]): Promise<string> =>
    (await program('git', ['--git-dir', folder, ...args], { env: ada.env })).trim()
  const input = join(work, '..', 'input')
  const blob = (content: string): Promise<string> => {
    writeFileSync(input, content)
    return git('hash-object', '-w', input)
  }
  const tree = (lines: readonly string[]): Promise<string> => {
    writeFileSync(input, lines.map((line) => `${line}\n`).join(''))
    return program('sh', ['-c', 'git --git-dir "$1" mktree < "$2"', 'sh', folder, input], {
      env: ada.env,
    }).then((out) => out.trim())
  }
  const [shard, order] = [
    await git('show', 'main:manifest/first'),
    await git('rev-parse', 'main:manifest/order'),
  ]
  const file = /^100644 3 [0-9a-f]{64}\ta$/m.exec(shard)?.[0]
  assert.ok(file !== undefined, shard)
  const first = await blob(`${file}\n${file}/b\n`)
  const manifest = await tree([`100644 blob ${first}\tfirst`, `100644 blob ${order}\torder`])
  const dataset = await blob('{\n  "format": 1,\n  "files": 2,\n  "bytes": 6\n}\n')
  const root = await tree([
    `100644 blob ${dataset}\tdataset.json`,
    `040000 tree ${manifest}\tmanifest`,
    `100644 blob ${await git('rev-parse', 'main:tables.json')}\ttables.json`,
  ])
  const who = ['-c', 'user.name=a', '-c', 'user.email=a@b']
  await git(
    'update-ref',
    'refs/heads/main',
    await git(...who, 'commit-tree', root, '-p', 'main', '-m', 'both'),
  )
}

test('a version that has both is named by fsck, and can be left and mended', async (t) => {
  const s = await scene(t, { a: 'one' })
  const { ada, work } = s
  await ada.ok(work, 'branch', 'good')
  await commitBoth(s)
  rmSync(join(work, 'a'))
  s.write({ 'a/b': 'one' })

  const fsck = await ada.cxv(work, 'fsck', '--json')
  assert.equal(fsck.status, 14, fsck.stderr)
  const report = JSON.parse(fsck.stdout) as unknown
  assert.equal(list(report, 'history').length, 1)
  assert.equal(text(report, 'history', 0, 'ref'), 'refs/heads/main')
  assert.match(
    text(report, 'history', 0, 'problem'),
    /commit [0-9a-f]{10} has a as a file and as a folder/,
  )
  assert.equal(at(report, 'commits'), 2)
  for (const verb of ['status', 'ls', 'diff']) await ada.ok(work, verb)

  await ada.ok(work, 'switch', '--force', 'good')
  assert.equal(readFileSync(join(work, 'a'), 'utf8'), 'one')
  const { code } = await ada.fails(work, 'switch', 'main')
  assert.equal(code, 'FORMAT_INVALID')
  assert.ok(existsSync(join(work, 'a')))

  // On it again, as its maker is: one add and one commit end it.
  await program('git', [
    '--git-dir',
    join(work, '.cxv/git'),
    'symbolic-ref',
    'HEAD',
    'refs/heads/main',
  ])
  const restored = await ada.fails(work, 'restore', 'a')
  assert.equal(restored.code, 'PATH_UNSUPPORTED')
  await ada.ok(work, 'restore', '--source', 'good', 'a')
  assert.equal(readFileSync(join(work, 'a'), 'utf8'), 'one')
  await ada.ok(work, 'add', 'a')
  await ada.ok(work, 'commit', '-m', 'mended')
  assert.deepEqual(await pathsOf(s), ['a'])
  await ada.ok(s.top, 'clone', await pushed(s), 'copy')
})

test('restore puts a file in the place of a folder, and a folder in the place of a file', async (t) => {
  const s = await scene(t, { a: 'one', 'd/x': 'two' })
  for (const name of ['a', 'd']) rmSync(join(s.work, name), { recursive: true })
  s.write({ 'a/b': 'three', d: 'four' })
  await s.ada.ok(s.work, 'add', '.')
  await s.ada.ok(s.work, 'commit', '-m', 'turned')
  s.write({ d: 'edited' })
  const { code } = await s.ada.fails(s.work, 'restore', '--source', 'HEAD~1', 'd/x')
  assert.equal(code, 'LOCAL_CHANGES')
  s.write({ d: 'four' })
  await s.ada.ok(s.work, 'restore', '--source', 'HEAD~1', 'a', 'd/x')
  assert.equal(readFileSync(join(s.work, 'a'), 'utf8'), 'one')
  assert.equal(readFileSync(join(s.work, 'd/x'), 'utf8'), 'two')
})

async function pushed({ ada, work, top }: Scene): Promise<string> {
  const remote = join(top, 'remote')
  await ada.ok(work, 'remote', 'add', 'origin', remote)
  await ada.ok(work, 'push')
  return remote
}

test('names that cannot be tracked are refused with the reason, and listed where a folder is added', async (t) => {
  const s = await scene(t, { 'images/a.png': 'a' })
  s.write({
    'images/.git/config': 'x',
    'images/deep/.CXV/b.png': 'x',
    'images/c.png': 'c',
    'pattern/.cxv/d.png': 'x',
    'pattern/e.png': 'e',
  })
  for (const path of ['images/.git/config', 'images/.git', 'images/.git/*']) {
    const refused = await s.ada.fails(s.work, 'add', path)
    assert.equal(refused.code, 'PATH_UNSUPPORTED', path)
    assert.match(refused.message, /part `.git` or `.cxv`/)
  }
  const said = await s.ada.ok(s.work, 'add', 'images')
  assert.match(said, /2 entries left out/)
  assert.match(said, /images\/\.git: its name cannot be tracked/)
  assert.match(said, /images\/deep\/\.CXV: /)
  const matched = await s.ada.json(s.work, 'add', 'pattern/**/*.png')
  assert.deepEqual(at(matched, 'skipped'), [{ path: 'pattern/.cxv/d.png', why: 'name' }])
  await s.ada.ok(s.work, 'commit', '-m', 'the rest')
  assert.deepEqual(await pathsOf(s), ['images/a.png', 'images/c.png', 'pattern/e.png'])
})

test('what is no file is refused by its own name, left out of a folder, and always told', async (t) => {
  const s = await scene(t, { 'images/a.png': 'a' })
  const images = join(s.work, 'images')
  symlinkSync('a.png', join(images, 'link'))
  assert.equal(spawnSync('mkfifo', [join(images, 'pipe')]).status, 0)
  // Latin-1 names: bytes that are no UTF-8.
  writeFileSync(
    Buffer.concat([Buffer.from(`${images}/r`), Buffer.from([0xf6]), Buffer.from('ntgen.png')]),
    'x',
  )
  const folder = Buffer.concat([Buffer.from(`${images}/f`), Buffer.from([0xfc]), Buffer.from('r')])
  mkdirSync(folder)
  writeFileSync(Buffer.concat([folder, Buffer.from('/in.png')]), 'x')
  writeFileSync(join(images, 'good.png'), 'good')
  for (const [name, why] of [
    ['link', /images\/link: a symbolic link.*PATH_UNSUPPORTED/],
    ['pipe', /images\/pipe: not a regular file.*PATH_UNSUPPORTED/],
  ] as const) {
    const { status, stdout } = await s.ada.cxv(s.work, 'add', `images/${name}`, 'images/good.png')
    assert.equal(status, 3, name)
    assert.match(stdout, why)
    assert.match(stdout, /of 1 file /)
  }
  // So many that their U+FFFD are longer than a name may be.
  writeFileSync(Buffer.concat([Buffer.from(`${images}/z`), Buffer.alloc(90, 0xe4)]), 'x')
  const report = await s.ada.json(s.work, 'add', 'images')
  assert.deepEqual(at(report, 'skipped'), [
    { path: 'images/f\ufffdr', why: 'name' },
    { path: 'images/link', why: 'symlink' },
    { path: 'images/pipe', why: 'special' },
    { path: 'images/r\ufffdntgen.png', why: 'name' },
    { path: `images/z${'\ufffd'.repeat(90)}`, why: 'name' },
  ])
  assert.deepEqual(at(report, 'failed'), [])
  // A name that has U+FFFD by right is as any other: tracked, and staged as removed when its folder is gone.
  s.write({ 'f\ufffd/x': 'x' })
  await s.ada.ok(s.work, 'add', 'f\ufffd')
  await s.ada.ok(s.work, 'add', 'f\ufffd/*')
  await s.ada.ok(s.work, 'commit', '-m', 'by right')
  rmSync(join(s.work, 'f\ufffd'), { recursive: true })
  assert.equal(at(await s.ada.json(s.work, 'add', 'f\ufffd'), 'removed'), 1)
})
