import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { at, list, machine, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'
import { makeTrainable } from '../helpers/tiny-run.ts'

test('a name that two runs bear is no answer: show, log and trace say which there are', async (t) => {
  const top = tempFolder(t, 'run-names')
  const work = join(top, 'work')
  mkdirSync(work)
  const who = machine(join(top, 'home'))
  await makeTrainable(who, work)
  await who.ok(work, 'run')

  // One run of that name: all three take the name, the start of its model's id and its own id.
  const first = text(await who.json(work, 'show', 'tiny'), 'record', 'id')
  const model = text(await who.json(work, 'show', first), 'record', 'models', 0, 'id')
  for (const word of ['tiny', first, first.slice(0, 6), model, model.slice(0, 12)]) {
    assert.equal(text(await who.json(work, 'show', word), 'record', 'id'), first, word)
    assert.equal(text(await who.json(work, 'trace', '--model', word), 'run', 'run'), first, word)
    await who.ok(work, 'log', '--model', word)
  }

  await who.ok(work, 'run', '--set', 'seed=9')
  const ids = list(await who.json(work, 'runs'), 'runs').map((run) => text(run, 'run'))
  assert.equal(ids.length, 2)
  for (const args of [['show'], ['log', '--model'], ['trace', '--model']]) {
    const failed = await who.fails(work, ...args, 'tiny')
    assert.deepEqual([failed.status, failed.code], [2, 'REV_AMBIGUOUS'])
    for (const id of ids) assert.ok(failed.hint.includes(id), failed.hint)
    assert.deepEqual([...list(failed.data, 'candidates')].sort(), [...ids].sort())
  }
  assert.equal(text(await who.json(work, 'show', first), 'record', 'id'), first)
  // A version goes before a run of its name.
  await who.ok(work, 'branch', 'tiny')
  assert.equal(at(await who.json(work, 'show', 'tiny'), 'kind'), 'commit')
})
