import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { at, machine, program, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'
import { makeTrainable } from '../helpers/tiny-run.ts'

test('--dry-run --allow-dirty resolves the changed work tree and writes nothing', async (t) => {
  const top = tempFolder(t, 'dry-run')
  const ada = machine(join(top, 'home'))
  const work = join(top, 'work')
  await makeTrainable(ada, work)
  const table = join(work, 'Data_Entry.csv')
  const rows = readFileSync(table, 'utf8').trimEnd().split('\n')
  const kept = rows.slice(0, -1)
  writeFileSync(table, `${kept.join('\n')}\n`)
  writeFileSync(join(work, 'train.yaml'), readFileSync(join(work, 'train.yaml'), 'utf8') + '\n')

  const objects = async (): Promise<string> =>
    program('git', ['--git-dir', join(work, '.cxv/git'), 'count-objects', '-v'])
  const packs = (): readonly string[] =>
    readdirSync(join(work, '.cxv', 'packs'), { recursive: true, encoding: 'utf8' }).sort()
  const before = { objects: await objects(), packs: packs() }
  const dry = await ada.json(work, 'run', '--dry-run', '--allow-dirty')
  assert.deepEqual({ objects: await objects(), packs: packs() }, before)
  assert.equal(at(dry, 'commit'), null)

  const run = await ada.json(work, 'run', '--allow-dirty')
  const shown = await ada.json(work, 'show', text(run, 'run'))
  assert.equal(text(shown, 'record', 'sampleList'), text(dry, 'sampleList'))
  assert.deepEqual(at(shown, 'record', 'pin', 'splits'), at(dry, 'splits'))
})
