import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { at, list, machine, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'

test('a damaged index is said to be rebuilt, and that what was staged must be added again', async (t) => {
  const top = tempFolder(t, 'index')
  const work = join(top, 'work')
  mkdirSync(work)
  const ada = machine(join(top, 'ada'))
  await ada.ok(work, 'init')
  writeFileSync(join(work, 'a.png'), 'a')
  await ada.ok(work, 'add', '.')
  await ada.ok(work, 'commit', '-m', 'first')
  writeFileSync(join(work, 'b.png'), 'b')
  await ada.ok(work, 'add', '.')
  const index = join(work, '.cxv/index')
  for (const name of readdirSync(index))
    if (/^(?:MANIFEST|CURRENT)/.test(name)) writeFileSync(join(index, name), 'nonsense')

  const status = await ada.cxv(work, 'status', '--json')
  assert.equal(status.status, 0, status.stderr)
  const warnings = status.stderr
    .split('\n')
    .filter((line) => line.includes('"warn"'))
    .map((line) => JSON.parse(line) as unknown)
  assert.equal(warnings.length, 1, status.stderr)
  assert.equal(text(warnings[0], 'code'), 'INDEX_REBUILT')
  const [name = ''] = readdirSync(join(work, '.cxv/bad'))
  assert.ok(statSync(join(work, '.cxv/bad', name)).isDirectory())
  assert.ok(text(warnings[0], 'message').includes(join('.cxv/bad', name)))
  assert.match(text(warnings[0], 'hint'), /cxv add/)
  const report = JSON.parse(status.stdout) as unknown
  assert.deepEqual(list(report, 'staged'), [])
  assert.equal(text(report, 'unstaged', 0, 'path'), 'b.png')

  // Said once, in words a person reads, and over.
  const again = await ada.cxv(work, 'add', '.')
  assert.equal(again.status, 0)
  assert.doesNotMatch(again.stderr, /INDEX_REBUILT|index was damaged/)
  assert.equal(at(list(await ada.json(work, 'status'), 'staged')[0], 'path'), 'b.png')
  await ada.ok(work, 'fsck')
})
