import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { makePhantoms } from '../../fixtures/phantom.ts'
import { parseJson } from '../../src/base/index.ts'
import { at, machine, number, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'

const TRAIN = `version: 1
task: binary
data:
  table: labels
  label: { column: Finding Labels }
  group: Patient ID
label_policy: { positive: [Effusion] }
image: { size: 16 }
train: { epochs: 1 }
evaluate: { bootstrap: 0 }
engine: wasm
`

test('images are decoded once: a second run on the same pin decodes nothing, another size does', async (t) => {
  const top = tempFolder(t, 'decoded')
  const ada = machine(join(top, 'home'))
  const repo = join(top, 'xrays')
  const set = await makePhantoms({
    out: repo,
    patients: 14,
    size: 32,
    seed: 7,
    labels: ['Effusion'],
  })
  writeFileSync(join(repo, 'train.yaml'), TRAIN)
  await ada.ok(repo, 'init')
  await ada.ok(repo, 'add', '.')
  await ada.ok(repo, 'table', 'add', 'labels', 'Data_Entry.csv', '--key', 'Image Index')
  await ada.ok(repo, 'commit', '-m', 'phantoms')

  /** @returns the run's model, and how many images it decoded */
  const run = async (...sets: string[]): Promise<{ model: string; decoded: number }> => {
    const args = sets.flatMap((s) => ['--set', s])
    const { status, stdout, stderr } = await ada.cxv(repo, 'run', 'train.yaml', '--json', ...args)
    assert.equal(status, 0, stderr)
    const events = stderr
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map(parseJson)
    assert.ok(events.some((e) => at(e, 'type') === 'train.epoch'))
    const begun = events.filter(
      (e) => at(e, 'type') === 'task.start' && at(e, 'title') === 'decoding',
    )
    const decoded = begun.reduce<number>((sum, e) => sum + number(e, 'total'), 0)
    return { model: text(parseJson(stdout), 'model'), decoded }
  }
  const first = await run()
  assert.equal(first.decoded, set.images)
  assert.deepEqual(await run(), { model: first.model, decoded: 0 })
  // Nor does a question about some of the same images, or another way to scale them.
  assert.equal((await run('image.normalize=unit', 'split.seed=8')).decoded, 0)
  assert.equal((await run('image.size=24')).decoded, set.images)
})
