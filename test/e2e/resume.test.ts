import assert from 'node:assert/strict'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { makePhantoms } from '../../fixtures/phantom.ts'
import { at, list, type Machine, machine, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'

const EPOCHS = 4
const TRAIN = `version: 1
name: resumed
task: binary
data:
  table: labels
  label: { column: Finding Labels }
  group: Patient ID
label_policy: { positive: [Cardiomegaly] }
image: { size: 32 }
augment: { apply_to: all }
model: { dropout: 0.3 }
schedule: { name: cosine, warmup_epochs: 1 }
train: { epochs: ${EPOCHS}, batch: 8 }
early_stop: { monitor: none }
evaluate: { bootstrap: 0 }
engine: wasm
`

test('a run stopped by Ctrl-C or kill -9 and resumed gives the model of one that was not', async (t) => {
  const repo = join(tempFolder(t, 'resume'), 'xrays')
  const me = machine(join(repo, '..', 'home'))
  await makePhantoms({ out: repo, patients: 40, size: 64, seed: 7, labels: ['Cardiomegaly'] })
  writeFileSync(join(repo, 'train.yaml'), TRAIN)
  await me.ok(repo, 'init')
  await me.ok(repo, 'add', '.')
  await me.ok(repo, 'table', 'add', 'labels', 'Data_Entry.csv', '--key', 'Image Index')
  await me.ok(repo, 'commit', '-m', 'phantoms')
  const whole = await me.json(repo, 'run')
  const figures = at(whole, 'metrics')

  const stops = { SIGINT: 130, SIGKILL: 'SIGKILL' } as const
  for (const [signal, end] of Object.entries(stops)) {
    await t.test(signal, async () => {
      const { ended, folder } = await stoppedAfterFirstEpoch(me, repo, signal as 'SIGINT')
      assert.equal(ended.signal ?? ended.status, end, ended.stderr)
      const [run] = list(await me.json(repo, 'runs'), 'runs')
      const id = text(run, 'run')
      assert.equal(text(run, 'folder'), folder)
      assert.equal(text(run, 'status'), 'interrupted')
      assert.match(await me.ok(repo, 'runs'), new RegExp(`${id} .*interrupted`))
      if (signal === 'SIGINT') assert.match(ended.stderr, new RegExp(`cxv run --resume ${id}`))

      const resumed = await me.json(repo, 'run', '--resume', id)
      assert.equal(text(resumed, 'run'), id)
      assert.equal(text(resumed, 'model'), text(whole, 'model'))
      assert.deepEqual(at(resumed, 'metrics'), figures)
      assert.match(await me.ok(repo, 'show', id), /finished/)
      const again = await me.fails(repo, 'run', '--resume', id)
      assert.equal(again.code, 'RUN_MISMATCH')
    })
  }
  await me.ok(repo, 'fsck')
})

/** Starts a run and signals it when its first checkpoint is there, so that epochs are left to do. */
async function stoppedAfterFirstEpoch(me: Machine, repo: string, signal: 'SIGINT' | 'SIGKILL') {
  const runs = join(repo, '.cxv', 'runs')
  const known = new Set(readdirSync(runs))
  const started = me.start(repo, 'run')
  let over = false
  void started.ended.then(() => (over = true))
  for (;;) {
    const id = readdirSync(runs).find((name) => !known.has(name))
    const folder = join(runs, id ?? 'none')
    const checkpoints = join(folder, 'checkpoints')
    if (existsSync(checkpoints) && readdirSync(checkpoints).some((n) => n.endsWith('.ckpt'))) {
      started.kill(signal)
      return { ended: await started.ended, folder }
    }
    assert.ok(!over, 'the run ended before its first checkpoint')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
