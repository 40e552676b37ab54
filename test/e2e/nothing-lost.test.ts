import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { list, text } from '../helpers/cli.ts'
import { freshWork } from '../helpers/fresh-work.ts'

test('a declared table that no version has comes along, or stops the switch', async (t) => {
  const { me, work } = await freshWork(t, 'tables', { 'labels.csv': 'key,label\na,1\n' })
  await me.ok(work, 'add', '.')
  await me.ok(work, 'commit', '-m', 'first')
  await me.ok(work, 'switch', '-c', 'same')
  await me.ok(work, 'switch', '-c', 'other')
  await me.ok(work, 'table', 'add', 'old', 'labels.csv', '--key', 'key', '--match', 'none')
  await me.ok(work, 'commit', '-m', 'a table')
  await me.ok(work, 'switch', 'main')
  await me.ok(work, 'table', 'add', 'mine', 'labels.csv', '--key', 'key', '--match', 'none')
  const names = async (): Promise<readonly string[]> =>
    list(await me.json(work, 'table', 'list'), 'tables').map((table) => text(table, 'name'))

  await me.ok(work, 'switch', 'same')
  assert.deepEqual(await names(), ['mine'])
  const failure = await me.fails(work, 'switch', 'other')
  assert.equal(failure.code, 'LOCAL_CHANGES')
  assert.match(failure.message, /table declarations/)
  assert.deepEqual(await names(), ['mine'])
  await me.ok(work, 'switch', '--force', 'other')
  assert.deepEqual(await names(), ['old'])
})

test('a branch whose file is gone is no empty repository: fsck says where it was', async (t) => {
  const { me, work, write } = await freshWork(t, 'gone', { 'a.png': 'a' })
  assert.equal((await me.cxv(work, 'fsck')).status, 0)
  await me.ok(work, 'add', '.')
  await me.ok(work, 'commit', '-m', 'first')
  write({ 'b.png': 'b' })
  await me.ok(work, 'add', '.')
  const commit = text(await me.json(work, 'commit', '-m', 'second'), 'commit')
  rmSync(join(work, '.cxv/git/refs/heads/main'))
  const { status, stdout } = await me.cxv(work, 'fsck')
  assert.equal(status, 14)
  assert.ok(
    stdout.includes(`refs/heads/main is gone; its last commit was ${commit.slice(0, 10)}`),
    stdout,
  )
})
