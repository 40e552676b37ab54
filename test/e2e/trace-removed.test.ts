import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { at, list, machine, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'
import { makeTrainable } from '../helpers/tiny-run.ts'

test('trace --where finds a patient after the table is gone', async (t) => {
  const top = tempFolder(t, 'trace-removed')
  const ada = machine(join(top, 'home'))
  const work = join(top, 'work')
  await makeTrainable(ada, work)
  const run = await ada.json(work, 'run')
  const question = ['trace', '--where', '"Patient ID" = 3']
  const before = await ada.json(work, ...question)
  assert.deepEqual(
    list(before, 'hits').map((h) => at(h, 'run')),
    [text(run, 'run')],
  )

  await ada.ok(work, 'table', 'remove', 'labels')
  await ada.ok(work, 'commit', '-m', 'no table')
  const after = await ada.json(work, ...question)
  assert.equal(at(after, 'matching'), null)
  assert.deepEqual(at(after, 'hits'), at(before, 'hits'))
  const said = await ada.cxv(work, ...question)
  assert.equal(said.status, 0, said.stderr)
  assert.match(said.stderr, /the version at hand cannot be asked this/)
  assert.match(said.stdout, new RegExp(text(run, 'run')))

  // Nobody can answer these: an error, and no answer that reads like "never seen".
  const nowhere = await ada.fails(work, 'trace', '--where', '"No Such Column" = 3')
  assert.equal(nowhere.code, 'COLUMN_UNKNOWN')
  const broken = await ada.fails(work, 'trace', '--where', 'Patient ID = = 3')
  assert.equal(broken.code, 'SQL_FAILED')
})
