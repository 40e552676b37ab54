import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { makePhantoms } from '../../fixtures/phantom.ts'
import { at, list, machine, number, program, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'

const TRAIN = `version: 1
name: cardiomegaly
task: binary
data:
  table: labels
  label: { column: Finding Labels }
  group: Patient ID
label_policy: { positive: [Cardiomegaly] }
image: { size: 32 }
train: { epochs: 2, batch: 16 }
evaluate: { bootstrap: 200 }
`

test('the story on phantoms: add, commit, push; clone, run; log and trace; back again', async (t) => {
  const top = tempFolder(t, 'story')
  const remote = join(top, 'srv', 'xrays')
  const laptop = machine(join(top, 'laptop-home'), 'Ada Laptop')
  const gpu = machine(join(top, 'gpu-home'), 'Grace Gpu')
  const work = join(top, 'laptop')
  const set = await makePhantoms({
    out: work,
    patients: 50,
    size: 64,
    seed: 7,
    labels: ['Cardiomegaly'],
  })
  writeFileSync(join(work, 'train.yaml'), TRAIN)

  await laptop.ok(work, 'init')
  await laptop.ok(work, 'remote', 'add', 'gpu', remote)
  await laptop.ok(work, 'add', 'images', 'Data_Entry.csv', 'train.yaml')
  const table = ['table', 'add', 'labels', 'Data_Entry.csv', '--key', 'Image Index']
  await laptop.ok(work, ...table)
  const commit = text(await laptop.json(work, 'commit', '-m', 'first'), 'commit')
  await laptop.ok(work, 'push')

  await gpu.ok(top, 'clone', remote, 'gpu')
  const there = join(top, 'gpu')
  await gpu.ok(there, 'pull')
  const dry = await gpu.json(there, 'run', 'train.yaml', '--dry-run')
  assert.equal(text(dry, 'commit'), commit)
  const run = await gpu.json(there, 'run', 'train.yaml', '--engine', 'wasm')
  assert.equal(text(run, 'commit'), commit)
  assert.equal(text(run, 'status'), 'finished')
  assert.equal(text(run, 'engine', 'name'), 'wasm')
  // No claim about quality in two epochs: it must be a figure with an interval.
  assert.ok(number(run, 'metrics', 'test', 'labels', 0, 'auroc') >= 0)
  assert.equal(list(run, 'metrics', 'test', 'labels', 0, 'aurocInterval').length, 2)
  assert.equal(number(run, 'metrics', 'test', 'labels', 0, 'naive', 'auroc'), 0.5)

  const folder = text(run, 'folder')
  for (const picture of ['roc.png', 'loss.png']) {
    const bytes = readFileSync(join(folder, picture))
    assert.equal(bytes.toString('latin1', 1, 4), 'PNG', picture)
  }
  for (const picture of ['roc.svg', 'loss.svg'])
    assert.match(readFileSync(join(folder, picture), 'utf8'), /^<svg|^<\?xml/)
  const epochs = readFileSync(join(folder, 'metrics.jsonl'), 'utf8').trim().split('\n')
  assert.ok(epochs.length >= 2)

  const id = text(run, 'run')
  const log = await gpu.ok(there, 'log')
  assert.match(log, new RegExp(`first\\n.*${id} cardiomegaly +finished`))
  assert.match(await gpu.ok(there, 'runs'), new RegExp(id))
  assert.match(await gpu.ok(there, 'show', id), /Cardiomegaly/)

  // The sample list says who was where; trace must say the same for a patient of each split.
  const rows = readFileSync(join(folder, 'samples.tsv'), 'utf8').split('\n')
  const verdicts = { train: /in train/, val: /validation only/, test: /test only/ }
  for (const [split, verdict] of Object.entries(verdicts)) {
    const row = rows.find((r) => r.split('\t').includes(split)) ?? ''
    const patient = Number(/\/(\d{8})_/.exec(row)?.[1])
    assert.ok(patient > 0, row)
    const traced = await gpu.json(there, 'trace', '--where', `"Patient ID" = ${patient}`)
    const hits = list(traced, 'hits')
    assert.deepEqual(
      hits.map((hit) => at(hit, 'run')),
      [id],
    )
    assert.match(text(hits[0], 'verdict'), verdict)
  }
  const model = text(run, 'model')
  const traced = await gpu.json(there, 'trace', '--model', model.slice(0, 12))
  const splits = ['train', 'val', 'test'].map((s) => number(traced, 'splits', s, 'images'))
  assert.equal(
    splits.reduce((a, b) => a + b),
    set.images,
  )
  assert.match(await gpu.ok(there, 'trace', '--commit', 'HEAD'), new RegExp(id))

  // The run goes home with the commits.
  await gpu.ok(there, 'push')
  await laptop.ok(work, 'pull')
  assert.match(await laptop.ok(work, 'log'), new RegExp(id))
  assert.match(await laptop.ok(work, 'trace', '--path', 'images'), new RegExp(id))
  await laptop.ok(work, 'fsck')
  await gpu.ok(there, 'fsck')
  const graph = await program('git', ['--git-dir', join(work, '.cxv/git'), 'log', '--all'])
  assert.match(graph, new RegExp(`run ${id}`))
  assert.ok(!existsSync(join(top, 'gpu', '.git')))
  assert.ok(statSync(join(top, 'gpu', 'images')).isDirectory())
})
