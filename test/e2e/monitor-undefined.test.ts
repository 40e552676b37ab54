import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { machine } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'
import { makeTrainable } from '../helpers/tiny-run.ts'

test('an early stop on a figure that validation does not have is refused before training', async (t) => {
  const work = join(tempFolder(t, 'monitor'), 'work')
  const ada = machine(join(work, '..', 'home'))
  await makeTrainable(ada, work)
  // Dealt by a column: all of validation is healthy.
  const table = join(work, 'Data_Entry.csv')
  const [head = '', ...rows] = readFileSync(table, 'utf8').trimEnd().split('\n')
  const dealt = rows.map((row, i) => {
    if (row.includes('Effusion')) return `${row},${i % 2 === 0 ? 'train' : 'test'}`
    return `${row},${['train', 'val', 'test'][i % 3]}`
  })
  writeFileSync(table, `${[`${head},part`, ...dealt].join('\n')}\n`)
  const file = join(work, 'train.yaml')
  const yaml = readFileSync(file, 'utf8').replace('group: Patient ID', 'group: Image Index')
  writeFileSync(file, `${yaml}split: { method: column, column: part }\n`)
  await ada.ok(work, 'add', '.')
  await ada.ok(work, 'commit', '-m', 'dealt')

  const args = ['run', '--set', 'early_stop.monitor=val/auroc_macro'] as const
  for (const more of [[], ['--dry-run']]) {
    const refused = await ada.fails(work, ...args, ...more)
    assert.equal(refused.code, 'SPLIT_INVALID')
    assert.match(refused.message, /both classes/)
  }
  assert.ok(!existsSync(join(work, '.cxv', 'runs')))
  await ada.ok(work, 'run', '--dry-run')
})
