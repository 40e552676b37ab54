import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { at, machine, number } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'
import { makeTrainable } from '../helpers/tiny-run.ts'

test('a label called none is counted apart from images with no label', async (t) => {
  const work = join(tempFolder(t, 'label-none'), 'work')
  const ada = machine(join(work, '..', 'home'))
  await makeTrainable(ada, work)
  const plain = await ada.json(work, 'run', '--dry-run')
  const table = join(work, 'Data_Entry.csv')
  writeFileSync(table, readFileSync(table, 'utf8').replaceAll('Effusion', 'none'))
  await ada.ok(work, 'add', 'Data_Entry.csv')
  await ada.ok(work, 'commit', '-m', 'another word')

  const args = ['run', '--dry-run', '--set', 'label_policy.positive=[none]'] as const
  const renamed = await ada.json(work, ...args)
  for (const split of ['train', 'val', 'test']) {
    const effusion = number(plain, 'splits', split, 'classes', 'Effusion')
    assert.ok(effusion > 0)
    assert.deepEqual(at(renamed, 'splits', split, 'classes'), { none: effusion })
    const without = number(renamed, 'splits', split, 'none')
    assert.equal(without, number(plain, 'splits', split, 'none'))
    assert.equal(without + effusion, number(renamed, 'splits', split, 'images'))
  }
  assert.match(await ada.ok(work, ...args), /train .*: none [1-9]\d*, no label [1-9]/)
})
