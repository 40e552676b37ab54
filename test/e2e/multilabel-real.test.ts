import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { at, list, machine, number, text } from '../helpers/cli.ts'
import { realDataSkipReason, realImages } from '../helpers/real-data.ts'
import { tempFolder } from '../helpers/temp.ts'

const FINDINGS = ['Pneumonia', 'Infiltration', 'Effusion', 'Atelectasis', 'Mass', 'Nodule']

const TRAIN = `version: 1
name: findings
task: multilabel
data:
  table: labels
  label:
    column: Finding Labels
    classes: [${FINDINGS.join(', ')}]
  group: Patient ID
  limit: 1200
label_policy: { unknown: ignore }
image: { size: 64 }
loss: { name: weighted_bce }
train: { epochs: 1 }
evaluate: { bootstrap: 500 }
engine: wasm
`
const skip = realDataSkipReason() ?? false

test(
  'multilabel on nih64 and nih256: a figure with interval and floor for each label',
  { skip },
  async (t) => {
    const top = tempFolder(t, 'multilabel')
    const me = machine(join(top, 'home'))
    const repo = join(top, 'xrays')
    // Seven images are in both sets: the set is part of the key.
    const images = realImages('nih64', 'nih256')
    const rows = images.map(({ file, cell }) => {
      mkdirSync(join(repo, cell('set')), { recursive: true })
      copyFileSync(file, join(repo, cell('set'), basename(file)))
      return `${cell('set')}/${basename(file)},${cell('finding_labels')},${cell('patient_id')}`
    })
    const header = 'Image,Finding Labels,Patient ID'
    writeFileSync(join(repo, 'labels.csv'), `${[header, ...rows].join('\n')}\n`)
    writeFileSync(join(repo, 'train.yaml'), TRAIN)
    await me.ok(repo, 'init')
    await me.ok(repo, 'add', '.')
    const table = await me.json(repo, 'table', 'add', 'labels', 'labels.csv', '--key', 'Image')
    assert.equal(number(table, 'matchedRows'), images.length)
    await me.ok(repo, 'commit', '-m', 'nih64 and nih256')

    const run = await me.json(repo, 'run')
    for (const split of ['val', 'test']) {
      const labels = list(run, 'metrics', split, 'labels')
      assert.deepEqual(
        labels.map((label) => text(label, 'label')),
        FINDINGS,
      )
      for (const label of labels) {
        const name = `${split} ${text(label, 'label')}`
        assert.equal(number(label, 'naive', 'auroc'), 0.5, name)
        assert.ok(number(label, 'positives') > 0 && number(label, 'negatives') > 0, name)
        const auroc = number(label, 'auroc')
        assert.ok(auroc >= 0 && auroc <= 1, name)
        if (split === 'test') {
          assert.ok(number(label, 'aurocInterval', 0) <= auroc, name)
          assert.ok(number(label, 'aurocInterval', 1) >= auroc, name)
        }
      }
    }
    const said = list(run, 'metrics', 'test', 'labels')
      .map((label) => `${text(label, 'label')} ${number(label, 'auroc').toFixed(3)}`)
      .join(', ')
    t.diagnostic(`${said}; ${number(run, 'seconds').toFixed(0)} s`)
    const shown = await me.ok(repo, 'show', text(run, 'run'))
    for (const label of FINDINGS) assert.match(shown, new RegExp(`${label}.*\\d\\.\\d{3}`))
    assert.equal(at(run, 'status'), 'finished')
  },
)
