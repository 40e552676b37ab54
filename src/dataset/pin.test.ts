import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CleanUp } from '../../test/helpers/temp.ts'
import { type WorkRepo, workRepo } from '../../test/helpers/work-repo.ts'
import { type CommitId, type CxvError, type ErrorCode, isCxvError } from '../base/index.ts'
import { decodeSampleList, parseTrainConfig } from '../format/index.ts'
import { declareTable } from '../table/index.ts'
import { type PinResolution, resolvePin } from './pin.ts'

const TRAIN = `version: 1
task: binary
data:
  table: labels
  label: { column: Finding }
  group: Patient
label_policy: { positive: [Effusion] }
`

interface Row {
  readonly image: string
  readonly finding: string
  readonly patient: string
}

const PATIENTS = 20
/** Two images of each of 20 patients; every third patient is sick. */
const ROWS: readonly Row[] = Array.from({ length: 2 * PATIENTS }, (_, i) => ({
  image: `${String(i).padStart(3, '0')}.png`,
  finding: (i >> 1) % 3 === 0 ? 'Effusion' : 'No Finding',
  patient: `P${i >> 1}`,
}))
const NAMES = ROWS.map((r) => r.image)

const csv = (rows: readonly Row[]): string =>
  ['Image,Finding,Patient', ...rows.map((r) => `${r.image},${r.finding},${r.patient}`), ''].join(
    '\n',
  )

interface Lab {
  readonly work: WorkRepo
  readonly commit: CommitId
  resolve(...sets: readonly string[]): Promise<PinResolution>
  refuses(code: ErrorCode, ...sets: readonly string[]): Promise<CxvError>
}

async function lab(
  t: CleanUp,
  rows: readonly Row[] = ROWS,
  names: readonly string[] = NAMES,
): Promise<Lab> {
  const work = await workRepo(t, 'pin')
  await work.add({
    'labels.csv': csv(rows),
    ...Object.fromEntries(names.map((name) => [`images/${name}`, `pixels of ${name}`])),
  })
  await declareTable(work.ctx, work.repo, {
    name: 'labels',
    path: 'labels.csv',
    key: 'Image',
  })
  const commit = await work.commit()
  const resolve: Lab['resolve'] = async (...sets) =>
    resolvePin(work.ctx, work.repo, await parseTrainConfig(TRAIN, { sets }), commit)
  return {
    work,
    commit,
    resolve,
    async refuses(code, ...sets) {
      try {
        await resolve(...sets)
      } catch (error) {
        assert.ok(isCxvError(error, code), String(error))
        return error
      }
      return assert.fail(`it was resolved, not ${code}`)
    },
  }
}

test('a pin resolves to every image once, in order, the same again', async (t) => {
  const { work, commit, resolve } = await lab(t)
  const first = await resolve()
  assert.deepEqual(
    first.samples.map((s) => s.path),
    NAMES.map((name) => `images/${name}`),
  )
  for (const [i, s] of first.samples.entries()) {
    assert.equal(s.group, ROWS[i]!.patient)
    assert.deepEqual(s.y, [ROWS[i]!.finding === 'Effusion' ? 1 : 0])
  }
  assert.deepEqual(decodeSampleList(first.sampleList, first.sampleListId), first.samples)
  assert.equal((await resolve()).sampleListId, first.sampleListId)
  assert.notEqual((await resolve('split.seed=8')).sampleListId, first.sampleListId)
  // The seed of the training is not the split's.
  assert.equal((await resolve('seed=8')).sampleListId, first.sampleListId)
  const facts = Object.values(first.splits)
  const sum = (of: (f: (typeof facts)[number]) => number): number =>
    facts.reduce((total, f) => total + of(f), 0)
  assert.deepEqual(
    [sum((f) => f.images), sum((f) => f.patients), sum((f) => f.classes['Effusion'] ?? 0)],
    [40, 20, 14],
  )
  assert.equal(
    sum((f) => f.none ?? 0),
    26,
  )
  assert.deepEqual(JSON.parse(JSON.stringify(first.pin)), first.pin)

  // The order of rows is not part of a version's meaning: another file, the same images and list.
  await work.add({ 'labels.csv': csv([...ROWS].reverse()) })
  const again = await work.commit()
  assert.notEqual(again, commit)
  const config = await parseTrainConfig(TRAIN)
  const reversed = await resolvePin(work.ctx, work.repo, config, again)
  assert.equal(reversed.sampleListId, first.sampleListId)
  // The first commit still answers as it did.
  assert.equal((await resolve()).sampleListId, first.sampleListId)
})

test('where chooses rows, by columns of the table and of files; a fault in it is told', async (t) => {
  const { resolve, refuses } = await lab(t)
  const byRow = await resolve("data.where=Patient not in ('P0', 'P7')")
  assert.equal(byRow.samples.length, 36)
  assert.ok(byRow.samples.every((s) => s.group !== 'P0' && s.group !== 'P7'))
  const byFile = await resolve("data.where=name not in ('004.png') -- and so on")
  assert.equal(byFile.samples.length, 39)
  const wrong = await refuses('COLUMN_UNKNOWN', "data.where=Patent = 'P0'")
  assert.match(`${wrong.message} ${wrong.hint}`, /Patient/)
  await refuses('SQL_FAILED', 'data.where=Patient =')
})

test('a cohort without images is an error, not an empty training', async (t) => {
  const { refuses } = await lab(t)
  const none = await refuses('COHORT_EMPTY', "data.where=Patient = 'nobody'")
  assert.match(none.hint ?? '', /data\.where/)
  const dropped = [
    'label_policy.positive=[]',
    'label_policy.normal_as=drop',
    "data.where=Finding = 'No Finding'",
  ]
  const error = await refuses('COHORT_EMPTY', ...dropped)
  assert.match(error.hint ?? '', /label_policy/)
})

test('an unknown table, label or group column is named', async (t) => {
  const { refuses } = await lab(t)
  await refuses('TABLE_UNKNOWN', 'data.table=lables')
  for (const key of ['data.label.column', 'data.group']) {
    const error = await refuses('COLUMN_UNKNOWN', `${key}=Findng`)
    assert.match(error.message, /"Findng"/)
    assert.match(error.hint ?? '', /"Finding"/)
  }
})

test('two rows for one image are an error, in a version that came after the table was declared', async (t) => {
  const { work } = await lab(t)
  await work.add({
    'labels.csv': csv([...ROWS, { image: '003.png', finding: 'Mass', patient: 'P1' }]),
  })
  const commit = await work.commit()
  const at = async (...sets: string[]): Promise<PinResolution> =>
    resolvePin(work.ctx, work.repo, await parseTrainConfig(TRAIN, { sets }), commit)
  await assert.rejects(at(), (error) => {
    assert.ok(isCxvError(error, 'TABLE_KEY'), String(error))
    assert.equal(error.message, 'several rows of labels name images/003.png')
    return true
  })
  assert.equal((await at("data.where=Finding <> 'Mass'")).samples.length, 40)
})

test("a table's own columns do not stand in for the file's", async (t) => {
  const work = await workRepo(t, 'pin')
  const lines = ROWS.map((r) => `${r.image},${r.finding},${r.patient},/mnt/old/x.png,17,a name`)
  await work.add({
    'labels.csv': ['Image,Finding,Patient,file_path,file_id,path', ...lines, ''].join('\n'),
    ...Object.fromEntries(NAMES.map((name) => [`images/${name}`, `pixels of ${name}`])),
  })
  await declareTable(work.ctx, work.repo, { name: 'labels', path: 'labels.csv', key: 'Image' })
  const commit = await work.commit()
  const { samples } = await resolvePin(work.ctx, work.repo, await parseTrainConfig(TRAIN), commit)
  assert.deepEqual(
    samples.map((s) => s.path),
    NAMES.map((name) => `images/${name}`),
  )
})

test('an image without its patient is an error', async (t) => {
  const rows = ROWS.map((r, i) => (i === 5 || i === 9 ? { ...r, patient: i === 5 ? '' : '  ' } : r))
  const { refuses } = await lab(t, rows)
  const error = await refuses('SPLIT_INVALID')
  assert.match(
    error.message,
    /^2 rows without a value in "Patient": images\/005.png, images\/009.png$/,
  )
})

test('rows whose image is not tracked: said by default, or an error, or passed over', async (t) => {
  const { resolve, refuses } = await lab(t, ROWS, NAMES.slice(0, 36))
  const said = await resolve()
  assert.equal(said.samples.length, 36)
  const note = '4 rows whose image is not tracked: 036.png, 037.png, 038.png, ...'
  assert.deepEqual(said.notes, [note])
  assert.deepEqual((await resolve('label_policy.missing_images=ignore')).notes, [])
  const error = await refuses('LABEL_POLICY', 'label_policy.missing_images=error')
  assert.equal(error.message, note)
  // Rows outside the cohort are not missed.
  const only = ["data.where=Image < '036'", 'label_policy.missing_images=error']
  assert.equal((await resolve(...only)).samples.length, 36)
})

test('images without a row: said by default, or an error, or passed over', async (t) => {
  const { resolve, refuses } = await lab(t, ROWS.slice(0, 38))
  const note = '2 images without a row: images/038.png, images/039.png'
  const said = await resolve()
  assert.equal(said.samples.length, 38)
  assert.deepEqual(said.notes, [note])
  assert.deepEqual((await resolve('label_policy.images_without_row=ignore')).notes, [])
  const error = await refuses('LABEL_POLICY', 'label_policy.images_without_row=error')
  assert.equal(error.message, note)
})

test('data.limit takes whole patients, at most that many images, by the seed of the split', async (t) => {
  // Patient sizes of 1 to 4: a limit is not always met exactly.
  const rows = ROWS.map((r, i) => ({ ...r, patient: `P${Math.floor(Math.sqrt(4 * i))}` }))
  const { resolve } = await lab(t, rows)
  const of = (samples: PinResolution['samples']): string => samples.map((s) => s.path).join()
  for (const limit of [20, 33]) {
    const some = await resolve(`data.limit=${limit}`)
    assert.ok(some.samples.length <= limit && some.samples.length > limit - 7, `${limit}`)
    for (const { group } of some.samples) {
      const whole = rows.filter((r) => r.patient === group).length
      assert.equal(some.samples.filter((s) => s.group === group).length, whole, group)
    }
    assert.equal(of((await resolve(`data.limit=${limit}`)).samples), of(some.samples))
    const other = await resolve(`data.limit=${limit}`, 'split.seed=8')
    assert.notEqual(of(other.samples), of(some.samples))
  }
  assert.equal((await resolve('data.limit=40')).samples.length, 40)
})

test('a column says the split; a patient in two splits is refused', async (t) => {
  const column = ['split.method=column', 'split.column=Finding']
  const values = ['train=[Effusion]', 'val=[Normal]', 'test=[No Finding]'].map(
    (v) => `split.values.${v}`,
  )
  const threeWays = ROWS.map((r, i) => (i < 4 ? { ...r, finding: 'Normal' } : r))
  const { resolve, refuses } = await lab(t, threeWays)
  const { samples } = await resolve(...column, ...values)
  for (const [i, s] of samples.entries()) {
    const expected = { Effusion: 'train', Normal: 'val' }[threeWays[i]!.finding] ?? 'test'
    assert.equal(s.split, expected)
  }
  const strange = await refuses('SPLIT_INVALID', ...column)
  assert.match(strange.message, /"No Finding" \(\d+\)/)

  const moved = threeWays.map((r, i) => (i === 7 ? { ...r, finding: 'Normal' } : r))
  const crossing = await (await lab(t, moved)).refuses('SPLIT_INVALID', ...column, ...values)
  assert.match(crossing.message, /1 patient in more than one split: P3/)
})
