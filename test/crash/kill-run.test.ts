import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { makePhantoms } from '../../fixtures/phantom.ts'
import { list, machine, text } from '../helpers/cli.ts'
import { createKiller } from '../helpers/kills.ts'
import { tempFolder } from '../helpers/temp.ts'

const KILLS = 20

const TRAIN = `version: 1
task: binary
data:
  table: labels
  label: { column: Finding Labels }
  group: Patient ID
label_policy: { positive: [Effusion] }
image: { size: 16 }
train: { epochs: 3, batch: 16 }
early_stop: { monitor: none }
evaluate: { bootstrap: 20 }
engine: wasm
`

test('a run killed at 20 random moments: clean, told as interrupted, and resumed to the same weights', async (t) => {
  const top = tempFolder(t, 'kill-run')
  const work = join(top, 'work')
  const ada = machine(join(top, 'home'))
  const killer = createKiller(undefined, 60)
  t.diagnostic(`CXV_TEST_SEED=${killer.seed}`)
  await makePhantoms({ out: work, patients: 24, size: 32, seed: 3, labels: ['Effusion'] })
  writeFileSync(join(work, 'train.yaml'), TRAIN)
  await ada.ok(work, 'init')
  await ada.ok(work, 'add', '.')
  await ada.ok(work, 'table', 'add', 'labels', 'Data_Entry.csv', '--key', 'Image Index')
  await ada.ok(work, 'commit', '-m', 'phantoms')
  assert.equal((await killer.time(ada, work, 'run')).status, 0)

  const runsNow = async (): Promise<readonly unknown[]> =>
    list(await ada.json(work, 'runs'), 'runs')
  const weights = text((await runsNow())[0], 'models', 0, 'id')
  const folders = (): readonly string[] => readdirSync(join(work, '.cxv', 'runs'))

  for (let i = 0; i < KILLS; i++) {
    const before = folders()
    const killed = await killer.kill(ada, work, 'run')
    if (killed.signal === null) assert.equal(killed.status, 0, killed.stderr)
    const fsck = await ada.cxv(work, 'fsck')
    assert.equal(fsck.status, 0, `fsck after a killed run: ${fsck.stdout}${fsck.stderr}`)
    const started = (await runsNow()).find((run) => !before.includes(text(run, 'run')))
    if (started !== undefined && text(started, 'status') === 'finished') {
      assert.equal(text(started, 'models', 0, 'id'), weights)
      continue
    }
    // Killed before there was a record, the same command does it all.
    const resume = started === undefined ? [] : ['--resume', text(started, 'run')]
    if (started !== undefined) assert.equal(text(started, 'status'), 'interrupted')
    const done = await ada.json(work, 'run', ...resume)
    assert.equal(text(done, 'status'), 'finished')
    assert.equal(text(done, 'model'), weights, `run ${text(done, 'run')} after kill ${i + 1}`)
  }
  t.diagnostic(`${killer.kills['run']} of ${KILLS} were killed before they ended`)
  assert.ok((killer.kills['run'] ?? 0) >= KILLS / 2)
  assert.equal((await runsNow()).filter((run) => text(run, 'status') !== 'finished').length, 0)
})
