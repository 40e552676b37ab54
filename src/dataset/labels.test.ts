import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CxvError, isCxvError } from '../base/index.ts'
import { parseTrainConfig } from '../format/index.ts'
import { type Labelling, readLabels } from './labels.ts'

type Task = 'binary' | 'multiclass' | 'multilabel'

/** The labels of these cells, as a train.yaml with these sets reads them. Row `i` is `r<i>.png`. */
async function read(
  task: Task,
  cells: readonly (string | null)[],
  ...sets: readonly string[]
): Promise<Labelling> {
  const yaml = `version: 1
task: ${task}
data: { table: t, label: { column: c }, group: g }
`
  const config = await parseTrainConfig(yaml, { sets })
  return readLabels(
    cells.map((cell, i) => ({ path: `r${i}.png`, cell })),
    config,
  )
}

async function refused(...args: Parameters<typeof read>): Promise<CxvError> {
  try {
    await read(...args)
  } catch (error) {
    assert.ok(isCxvError(error, 'LABEL_POLICY'), String(error))
    return error
  }
  return assert.fail('it was read')
}

const OUT = undefined
const NAN = Number.NaN
const POSITIVE = 'label_policy.positive=[Pneumonia]'
const CLASSES = 'data.label.classes=[Mass, Nodule]'

test('binary: positive labels make a row positive; without any, all but normal do', async () => {
  const cells = ['Pneumonia', 'No Finding', 'Mass', ' Mass | Pneumonia ']
  const named = await read('binary', cells, POSITIVE)
  assert.deepEqual(named, { labels: ['Pneumonia'], y: [[1], [0], [0], [1]], notes: [] })
  const two = await read('binary', cells, 'label_policy.positive=[Pneumonia, Mass]')
  assert.deepEqual(two.labels, ['Pneumonia or Mass'])
  assert.deepEqual(two.y, [[1], [0], [1], [1]])
  const any = await read('binary', cells)
  assert.deepEqual(any, { labels: ['abnormal'], y: [[1], [0], [1], [1]], notes: [] })
  const other = await read('binary', ['fine', 'Mass'], 'label_policy.normal=fine')
  assert.deepEqual(other.y, [[0], [1]])
})

test('binary: a positive label that no row has is an error that names the nearest', async () => {
  const error = await refused('binary', ['Pneumona', 'No Finding'], POSITIVE)
  assert.equal(error.message, 'no row of the cohort has the label "Pneumonia"')
  assert.equal(error.hint, 'did you mean "Pneumona"?')
  assert.match((await refused('binary', ['Mass', 'Hernia'], POSITIVE)).hint ?? '', /Hernia, Mass/)
})

test('binary: with classes given, a label that is none of them is told, left out or passed over', async () => {
  const cells = ['Pneumonia', 'Pneumona', 'No Finding', 'Pneumona', 'Pneumonia|Pneumona']
  const classes = 'data.label.classes=[Pneumonia]'
  const note = 'label "Pneumona" is not in data.label.classes: 3 (r1.png, r3.png, r4.png)'
  for (const sets of [[classes], [classes, POSITIVE]]) {
    const error = await refused('binary', cells, ...sets)
    assert.equal(error.message, note)
    assert.match(error.hint ?? '', /data\.label\.classes.*label_policy\.unknown/)
    const policy = (how: string): Promise<Labelling> =>
      read('binary', cells, ...sets, `label_policy.unknown=${how}`)
    const warned = await policy('warn')
    // What is passed over makes no row positive.
    assert.deepEqual(warned.y, [[1], [0], [0], [0], [1]])
    assert.deepEqual(warned.notes, [note])
    const ignored = await policy('ignore')
    assert.deepEqual([ignored.y, ignored.notes], [warned.y, []])
    const dropped = await policy('drop')
    assert.deepEqual(dropped.y, [[1], OUT, [0], OUT, OUT])
    assert.deepEqual(dropped.notes, [note])
  }
})

test('multilabel: all labels that occur, sorted, or those named in their order', async () => {
  const cells = ['Nodule|Mass', 'No Finding', 'Mass']
  const all = await read('multilabel', cells)
  assert.deepEqual(all, {
    labels: ['Mass', 'Nodule'],
    y: [
      [1, 1],
      [0, 0],
      [1, 0],
    ],
    notes: [],
  })
  const named = await read('multilabel', cells, 'data.label.classes=[Nodule, Mass]')
  assert.deepEqual(named.labels, ['Nodule', 'Mass'])
  assert.deepEqual(named.y[2], [0, 1])
  const whole = await read('multilabel', ['a|b', 'c'], 'data.label.separator=')
  assert.deepEqual(whole.labels, ['a|b', 'c'])
  const comma = await read('multilabel', ['a,b', 'c'], 'data.label.separator=","')
  assert.deepEqual(comma.labels, ['a', 'b', 'c'])
})

test('normal: no label at all, a class of its own, or rows left out', async () => {
  const cells = ['Mass', 'No Finding', 'Nodule']
  const zero = await read('multilabel', cells, 'label_policy.normal_as=all_zero')
  assert.deepEqual(zero.y[1], [0, 0])
  const own = await read('multilabel', cells, 'label_policy.normal_as=own_class')
  assert.deepEqual(own.labels, ['No Finding', 'Mass', 'Nodule'])
  assert.deepEqual(own.y[1], [1, 0, 0])
  for (const task of ['binary', 'multiclass', 'multilabel'] as const) {
    const dropped = await read(task, cells, 'label_policy.normal_as=drop')
    assert.equal(dropped.y[1], OUT)
    assert.ok(dropped.y[0] !== OUT && dropped.y[2] !== OUT)
    assert.deepEqual(dropped.notes, ['"No Finding" rows are left out: 1 (r1.png)'])
  }
  const multiclass = await read('multiclass', cells)
  assert.deepEqual(multiclass.labels, ['No Finding', 'Mass', 'Nodule'])
  assert.deepEqual(multiclass.y, [
    [0, 1, 0],
    [1, 0, 0],
    [0, 0, 1],
  ])
  const named = await read('multiclass', cells, CLASSES)
  assert.deepEqual(named.labels, ['No Finding', 'Mass', 'Nodule'])
})

test('missing: stop with counts and examples, leave out, no label, or unknown; never without a word', async () => {
  const cells = ['Mass', null, '', ' ', '|', 'No Finding']
  const error = await refused('multilabel', cells)
  assert.equal(error.message, 'empty label cells: 4 (r1.png, r2.png, r3.png, ...)')
  assert.match(error.hint ?? '', /label_policy\.missing/)
  assert.deepEqual(error.data, {
    problems: [{ what: 'empty label cells', count: 4, examples: ['r1.png', 'r2.png', 'r3.png'] }],
  })
  const counted = '4 (r1.png, r2.png, r3.png, ...)'
  for (const task of ['binary', 'multilabel'] as const) {
    for (const [how, y, note] of [
      ['drop', OUT, `empty label cells, left out: ${counted}`],
      ['zeros', [0], `empty label cells, taken as no label: ${counted}`],
      ['ignore', [NAN], `empty label cells, taken as unknown: ${counted}`],
    ] as const) {
      const labelling = await read(task, cells, `label_policy.missing=${how}`)
      assert.deepEqual(labelling.y, [[1], y, y, y, y, [0]], `${task} ${how}`)
      assert.deepEqual(labelling.notes, [note])
    }
  }
})

test('uncertain: present, absent or unknown, and told; a multiclass row is left out', async () => {
  const cells = ['Mass', '-1', '-1.0', 'No Finding']
  for (const [how, y, as] of [
    ['ones', [1], 'present'],
    ['zeros', [0], 'absent'],
    ['ignore', [NAN], 'unknown'],
  ] as const) {
    for (const task of ['binary', 'multilabel'] as const) {
      const labelling = await read(task, cells, `label_policy.uncertain=${how}`)
      assert.deepEqual(labelling.y, [[1], y, y, [0]])
      assert.deepEqual(labelling.notes, [`uncertain cells, taken as ${as}: 2 (r1.png, r2.png)`])
    }
  }
  const multiclass = await read('multiclass', cells)
  assert.deepEqual(multiclass.y, [[0, 1], OUT, OUT, [1, 0]])
  assert.deepEqual(multiclass.notes, ['uncertain cells, left out: 2 (r1.png, r2.png)'])
})

test('multiple: a multiclass row of several classes stops, is left out, or takes the first', async () => {
  const cells = ['Nodule|Mass', 'Mass', 'No Finding']
  const note = 'rows with several classes: 1 (r0.png)'
  assert.equal((await refused('multiclass', cells)).message, note)
  const dropped = await read('multiclass', cells, 'label_policy.multiple=drop')
  assert.deepEqual(dropped.y, [OUT, [0, 1, 0], [1, 0, 0]])
  assert.deepEqual(dropped.notes, [note])
  const first = await read('multiclass', cells, 'label_policy.multiple=first')
  assert.deepEqual(first.y[0], [0, 0, 1])
})

test('unknown: labels beside the classes stop, are told, passed over, or their rows left out', async () => {
  const cells = ['Mass', 'Mass|Hernia', 'Hernia', 'No Finding', 'Edema']
  const hernia = 'label "Hernia" is not in data.label.classes: 2 (r1.png, r2.png)'
  const edema = 'label "Edema" is not in data.label.classes: 1 (r4.png)'
  const unknown = (how: string): string => `label_policy.unknown=${how}`

  const error = await refused('multilabel', cells, CLASSES)
  assert.equal(error.message, `${hernia}; ${edema}`)
  const warned = await read('multilabel', cells, CLASSES, unknown('warn'))
  assert.deepEqual(warned.notes, [hernia, edema])
  const passed = [
    [1, 0],
    [1, 0],
    [0, 0],
    [0, 0],
    [0, 0],
  ]
  assert.deepEqual(warned.y, passed)
  const ignored = await read('multilabel', cells, CLASSES, unknown('ignore'))
  assert.deepEqual([ignored.y, ignored.notes], [passed, []])
  const dropped = await read('multilabel', cells, CLASSES, unknown('drop'))
  assert.deepEqual(dropped.y, [[1, 0], OUT, OUT, [0, 0], OUT])
  assert.deepEqual(dropped.notes, [hernia, edema])

  // A multiclass row must have a class: passing over the label leaves the row out, and says so.
  const multiclass = await read('multiclass', cells, CLASSES, unknown('ignore'))
  assert.deepEqual(multiclass.y, [[0, 1, 0], [0, 1, 0], OUT, [1, 0, 0], OUT])
  assert.deepEqual(multiclass.notes, ['rows without any of the classes: 2 (r2.png, r4.png)'])
  const strict = await refused('multiclass', cells, CLASSES)
  assert.ok(strict.message.startsWith(`${hernia}; `), strict.message)
})

test('nothing left to learn, or too few positives, is an error', async () => {
  const none = await refused('multilabel', ['No Finding', 'No Finding'])
  assert.equal(none.message, 'no label is left to learn')
  const few = await refused('multilabel', ['Mass', 'Mass', 'Nodule'], 'label_policy.min_count=2')
  assert.equal(few.message, 'fewer than 2 positives: Nodule 1')
  assert.match(few.hint ?? '', /min_count/)
  await read('multilabel', ['Mass', 'Mass', 'Nodule', 'Nodule'], 'label_policy.min_count=2')
})
