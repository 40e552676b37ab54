import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { acquireLock } from '../../src/io/index.ts'
import { openRepository } from '../../src/repo/index.ts'
import { list, machine, program, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'
import { workTree } from '../helpers/work-tree.ts'

test('a name that branch refuses, or that could never be pushed, is refused wherever it is made', async (t) => {
  const top = tempFolder(t, 'names')
  const work = join(top, 'work')
  mkdirSync(work)
  const ada = machine(join(top, 'ada'))
  // refs/heads/ and it are 160 bytes, which a remote takes.
  const longest = 'b'.repeat(149)
  const refused: readonly (readonly [name: string, why: RegExp])[] = [
    ['HEAD', /read as something else/],
    ['@', /read as something else/],
    [`${longest}b`, /could never be pushed: refs\/heads\/ and it are 161 bytes/],
    ['ä'.repeat(60), /could never be pushed: a part of it has over 255 characters/],
    ['a\u202eb', /could never be pushed/],
  ]
  for (const [name, why] of refused) {
    const init = await ada.fails(work, 'init', '--branch', name)
    assert.equal(init.code, 'REF_INVALID')
    assert.match(init.message, why)
  }
  await ada.ok(work, 'init')
  const unborn = await ada.fails(work, 'switch', '-c', 'HEAD')
  assert.equal(unborn.code, 'REF_INVALID')
  writeFileSync(join(work, 'a.png'), 'a')
  await ada.ok(work, 'add', '.')
  await ada.ok(work, 'commit', '-m', 'first')
  for (const [name, why] of refused) {
    for (const args of [
      ['switch', '-c', name],
      ['branch', name],
      ['branch', '-m', 'main', name],
    ]) {
      const failure = await ada.fails(work, ...args)
      assert.equal(failure.code, 'REF_INVALID', args.join(' '))
      assert.match(failure.message, why)
    }
  }
  const tag = await ada.fails(work, 'tag', `${longest}bb`)
  assert.match(tag.hint, /shorter/)
  assert.deepEqual(
    list(await ada.json(work, 'branch'), 'branches').map((branch) => text(branch, 'name')),
    ['main'],
  )
  await ada.ok(work, 'remote', 'add', 'origin', join(top, 'remote'))
  for (const name of [longest, 'ä'.repeat(42)]) {
    await ada.ok(work, 'switch', '-c', name)
    await ada.ok(work, 'push')
  }

  // One that an older cxv made can still be renamed away.
  const git = ['--git-dir', join(work, '.cxv/git')]
  await program('git', [...git, 'update-ref', `refs/heads/${longest}b`, 'refs/heads/main'])
  await ada.ok(work, 'branch', '-m', `${longest}b`, 'short')
})

test('the reflog says who moved a ref', async (t) => {
  const top = tempFolder(t, 'who')
  const work = join(top, 'work')
  mkdirSync(work)
  const ada = machine(join(top, 'ada'))
  await ada.ok(work, 'init')
  writeFileSync(join(work, 'a.png'), 'a')
  await ada.ok(work, 'add', '.')
  await ada.ok(work, 'commit', '-m', 'first')
  const bob = machine(join(top, 'bob'), 'Bob Tester')
  await bob.ok(work, 'switch', '-c', 'other')
  const log = (name: string): string => readFileSync(join(work, '.cxv/git/logs', name), 'utf8')
  assert.match(log('refs/heads/main'), / Ada Tester <ada\.tester@example\.org> \d+ /)
  assert.match(log('refs/heads/other'), / Bob Tester <bob\.tester@example\.org> \d+ /)
  assert.match(log('HEAD').trim().split('\n').at(-1) ?? '', / Bob Tester </)
})

test('git is asked who moves a ref by verbs that move one alone', async (t) => {
  const top = tempFolder(t, 'lazy')
  const work = join(top, 'work')
  const bin = join(top, 'bin')
  for (const folder of [work, bin]) mkdirSync(folder)
  const asked = join(top, 'asked')
  writeFileSync(join(bin, 'git'), `#!/bin/sh\necho "$@" >> '${asked}'\necho From Git\n`, {
    mode: 0o755,
  })
  const ada = machine(join(top, 'ada'), 'unused', { PATH: `${bin}:${process.env['PATH'] ?? ''}` })
  delete ada.env['CXV_AUTHOR_NAME']
  delete ada.env['CXV_AUTHOR_EMAIL']
  await ada.ok(work, 'init')
  writeFileSync(join(work, 'a.png'), 'a')
  await ada.ok(work, 'add', '.')
  for (const verb of ['status', 'ls', 'fsck']) await ada.ok(work, verb)
  assert.ok(!existsSync(asked))
  await ada.ok(work, 'commit', '-m', 'first')
  assert.equal(readFileSync(asked, 'utf8').trim().split('\n').length, 2)
  assert.match(readFileSync(join(work, '.cxv/git/logs/HEAD'), 'utf8'), / From Git </)
})

test('Ctrl-C ends the wait for the lock of the refs', async (t) => {
  const top = tempFolder(t, 'wait')
  const tree = await workTree(join(top, 'work'))
  tree.write({ 'a.png': 'a' })
  const commit = await tree.commit('first')
  const lock = await acquireLock(
    tree.ctx,
    join(tree.root, '.cxv/git/cxv-refs.lock'),
    'move a ref',
    0,
  )
  const stop = new AbortController()
  stop.abort(new Error('enough'))
  await using repo = await openRepository({ ...tree.ctx, signal: stop.signal }, tree.root)
  await assert.rejects(repo.history.casRef('refs/heads/x', null, commit, 'test'), /enough/)
  lock.release()
})
