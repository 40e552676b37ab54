import assert from 'node:assert/strict'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { machine } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'

test('every verb that takes names takes those after --, also when they begin with a dash', async (t) => {
  const top = tempFolder(t, 'operands')
  const repo = join(top, 'repo')
  mkdirSync(repo)
  const { ok, cxv } = machine(join(top, 'home'))
  writeFileSync(join(repo, '-x.png'), 'one')
  await ok(repo, 'init')
  await ok(repo, 'add', '--', '-x.png')
  assert.equal(await ok(repo, 'cat', '--', '-x.png'), 'one')
  assert.equal(await ok(repo, 'ls', '--', '-x.png'), '-x.png\n')
  await ok(repo, 'commit', '-m', 'first')
  rmSync(join(repo, '-x.png'))
  await ok(repo, 'restore', '--', '-x.png')
  await ok(repo, 'tag', '--', 'v1')
  await ok(repo, 'branch', '--', 'side')
  await ok(repo, 'rm', '--', '-x.png')
  assert.equal(existsSync(join(repo, '-x.png')), false)
  assert.match((await cxv(repo, 'branch', '--', '-x')).stderr, /\[REF_INVALID\]/)
})
