import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { at, list, machine, number, program, text } from '../helpers/cli.ts'
import { REAL_DATA, realDataSkipReason, realImages } from '../helpers/real-data.ts'
import { sshdSkipReason, startSshd } from '../helpers/sshd.ts'
import { tempFolder } from '../helpers/temp.ts'

const noData = realDataSkipReason() ?? false
const skip = noData || (sshdSkipReason() ?? false)

const TRAIN = `version: 1
name: pneumonia
task: binary
data:
  table: labels
  label: { column: Finding Labels }
  group: Patient ID
label_policy: { normal: normal }
image: { size: 64 }
augment: { apply_to: all }
train: { epochs: 8 }
early_stop: { monitor: val/auroc_macro, patience: 4 }
seed: 7
engine: wasm
`

test('the main job on real chest X-rays, laptop to ssh host and back', { skip }, async (t) => {
  const top = tempFolder(t, 'real')
  const sshd = await startSshd()
  t.after(() => sshd.stop())
  const laptop = machine(join(top, 'laptop-home'), 'Ada Laptop', sshd.env)
  const gpu = machine(join(top, 'gpu-home'), 'Grace Gpu', sshd.env)
  const mine = join(top, 'laptop')
  const theirs = join(top, 'gpu', 'xrays')
  const url = sshd.url(join(top, 'srv', 'xrays'))
  const images = realImages('kermany224')
  let commit = ''
  let run = ''

  await t.test('laptop: init, add, table add, commit, push over ssh', async () => {
    mkdirSync(join(mine, 'images'), { recursive: true })
    mkdirSync(join(top, 'srv'))
    for (const { file } of images) copyFileSync(file, join(mine, 'images', basename(file)))
    const rows = images.map(
      ({ file, cell }) => `${basename(file)},${cell('class')},${cell('patient_id')}`,
    )
    const header = 'Image Index,Finding Labels,Patient ID'
    writeFileSync(join(mine, 'labels.csv'), `${[header, ...rows].join('\n')}\n`)
    await laptop.ok(mine, 'init')
    await laptop.ok(mine, 'remote', 'add', 'gpu', url)
    const added = await laptop.json(mine, 'add', 'images', 'labels.csv')
    assert.equal(number(added, 'staged'), images.length + 1)
    const table = ['table', 'add', 'labels', 'labels.csv', '--key', 'Image Index']
    assert.equal(number(await laptop.json(mine, ...table), 'matchedRows'), images.length)
    commit = text(await laptop.json(mine, 'commit', '-m', 'kermany224'), 'commit')
    await laptop.ok(mine, 'push', 'gpu')
  })

  await t.test('gpu host: clone and pull; every file is what the manifest says', async () => {
    mkdirSync(join(top, 'gpu'))
    await gpu.ok(join(top, 'gpu'), 'clone', url, 'xrays')
    await gpu.ok(theirs, 'pull')
    for (const { file, cell } of images) {
      const bytes = readFileSync(join(theirs, 'images', basename(file)))
      const sum = createHash('sha256').update(bytes).digest('hex')
      assert.equal(sum, cell('sha256'), basename(file))
    }
    assert.match(await gpu.ok(theirs, 'status'), /nothing to commit/)
    await gpu.ok(theirs, 'fsck')
  })

  await t.test('gpu host: cxv run reaches a test AUROC of 0.96', async () => {
    writeFileSync(join(theirs, 'train.yaml'), TRAIN)
    const result = await gpu.json(theirs, 'run', 'train.yaml')
    run = text(result, 'run')
    assert.equal(text(result, 'commit'), commit)
    assert.equal(text(result, 'engine', 'name'), 'wasm')
    const auroc = number(result, 'metrics', 'test', 'aurocMacro')
    t.diagnostic(
      `test AUROC ${auroc.toFixed(4)}, ${number(result, 'epochs')} epochs, ` +
        `${number(result, 'seconds')} s, ${number(result, 'imagesPerSecond').toFixed(0)} images/s`,
    )
    assert.ok(auroc >= 0.96, `test AUROC ${auroc}`)
    const label = at(result, 'metrics', 'test', 'labels', 0)
    assert.ok(number(label, 'aurocInterval', 0) < auroc)
    assert.ok(number(label, 'aurocInterval', 1) >= auroc)
    for (const name of ['roc.png', 'roc.svg', 'loss.png', 'loss.svg', 'metrics.jsonl']) {
      assert.ok(existsSync(join(theirs, '.cxv', 'runs', run, name)), name)
    }
  })

  await t.test('push back: the laptop sees the run under its commit', async () => {
    await gpu.ok(theirs, 'push')
    await laptop.ok(mine, 'pull', 'gpu')
    const log = await laptop.json(mine, 'log')
    assert.equal(text(log, 'commits', 0, 'id'), commit)
    assert.equal(text(log, 'commits', 0, 'runs', 0, 'run'), run)
    assert.equal(text(log, 'commits', 0, 'runs', 0, 'status'), 'finished')
    assert.match(await laptop.ok(mine, 'log'), new RegExp(`kermany224\\n +run ${run} pneumonia`))
  })

  await t.test('laptop: trace says in which split a patient was', async () => {
    const splits = patientSplits(join(theirs, '.cxv', 'runs', run, 'samples.tsv'))
    for (const [patient, seen] of splits) assert.equal(seen.size, 1, `${patient} crosses splits`)
    const verdicts = { train: 'in train', val: 'validation only', test: 'test only' }
    for (const [split, verdict] of Object.entries(verdicts)) {
      const patient = [...splits].find(([, seen]) => seen.has(split))?.[0]
      assert.ok(patient !== undefined, `nobody is in ${split}`)
      const question = ['trace', '--where', `"Patient ID" = '${patient}'`]
      const hits = list(await laptop.json(mine, ...question), 'hits')
      assert.deepEqual(
        hits.map((hit) => [text(hit, 'run'), text(hit, 'verdict')]),
        [[run, verdict]],
      )
      const said = await laptop.ok(mine, ...question)
      assert.ok(said.includes(run) && said.includes(verdict), said)
    }
  })

  await t.test('plain git finds nothing wrong, and the run under its data commit', async () => {
    for (const root of [mine, theirs]) {
      const git = (...args: string[]): Promise<string> =>
        program('git', ['--git-dir', join(root, '.cxv', 'git'), ...args])
      assert.doesNotMatch(await git('fsck', '--strict'), /error|missing|broken/)
      const ids = await git('rev-list', '--parents', '-n', '1', `refs/runs/${run}`)
      const [own = '', ...parents] = ids.trim().split(' ')
      assert.deepEqual(parents, [commit])
      const graph = await git('log', '--graph', '--all', '--oneline', '--no-abbrev-commit')
      assert.ok(graph.includes(own) && graph.indexOf(own) < graph.indexOf(commit), graph)
    }
  })
})

test('the NIH tables: 112,120 rows added, asked and compared', { skip: noData }, async (t) => {
  const top = tempFolder(t, 'nih')
  const me = machine(join(top, 'home'))
  const repo = join(top, 'repo')
  mkdirSync(join(repo, 'tables'), { recursive: true })
  const path = join(repo, 'tables', 'Data_Entry.csv')
  copyFileSync(join(REAL_DATA, 'nih', 'sample_labels_2017.csv'), path)
  await me.ok(repo, 'init')
  await me.ok(repo, 'add', 'tables')
  await me.ok(repo, 'table', 'add', 'labels', 'tables/Data_Entry.csv', '--key', 'Image Index')
  await me.ok(repo, 'commit', '-m', 'the sample of 2017')
  const whole = readFileSync(join(REAL_DATA, 'nih', 'Data_Entry_2017_v2020.csv.gz'))
  writeFileSync(path, gunzipSync(whole))
  await me.ok(repo, 'add', 'tables')
  await me.ok(repo, 'commit', '-m', 'the whole table of 2020')

  const rows = async (...rev: string[]): Promise<unknown> =>
    at(await me.json(repo, 'query', 'select count(*) from labels', ...rev), 'rows', 0, 0)
  assert.equal(await rows(), 112_120)
  assert.equal(await rows('--rev', 'HEAD~1'), 5_606)
  const patients = 'select count(distinct "Patient ID") from labels'
  assert.equal(at(await me.json(repo, 'query', patients), 'rows', 0, 0), 30_805)

  const diff = at(await me.json(repo, 'diff', 'HEAD~1', 'HEAD'), 'tables', 0)
  const figures = ['rowsBefore', 'rowsAfter', 'rowsAdded', 'rowsRemoved', 'rowsChanged']
  assert.deepEqual(
    figures.map((name) => at(diff, name)),
    [5_606, 112_120, 106_514, 0, 5_606],
  )
  const classes = new Map(
    list(diff, 'classes')
      .filter((row) => at(row, 'column') === 'Finding Labels')
      .map((row) => [at(row, 'label'), [at(row, 'before'), at(row, 'after')]]),
  )
  assert.equal(classes.size, 15)
  assert.deepEqual(classes.get('No Finding'), [3_044, 60_361])
  assert.deepEqual(classes.get('Pneumonia'), [62, 1_431])
  assert.deepEqual(classes.get('Hernia'), [13, 227])
  const said = await me.ok(repo, 'diff', 'HEAD~1', 'HEAD')
  assert.match(said, /106,514 rows added, 0 removed, 5,606 changed/)
})

/** Which splits each patient of a sample list is in. */
function patientSplits(file: string): ReadonlyMap<string, ReadonlySet<string>> {
  const splits = new Map<string, Set<string>>()
  for (const line of readFileSync(file, 'utf8').trimEnd().split('\n').slice(1)) {
    const [, , patient = '', split = ''] = line.split('\t')
    splits.set(patient, (splits.get(patient) ?? new Set()).add(split))
  }
  return splits
}
