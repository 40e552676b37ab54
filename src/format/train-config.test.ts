import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isCxvError, isRecord, utf8 } from '../base/index.ts'
import { parseTrainConfig } from './train-config.ts'
import { encodeTrainConfig } from './train-encode.ts'

const BASE = [
  'version: 1',
  'task: binary',
  'data:',
  '  table: labels',
  '  label: { column: Finding Labels }',
  '  group: Patient ID',
  '',
].join('\n')

async function problems(text: string | Uint8Array, sets: readonly string[] = []): Promise<string> {
  try {
    await parseTrainConfig(text, { sets })
  } catch (error) {
    assert.ok(isCxvError(error, 'TRAIN_CONFIG_INVALID'), String(error))
    return error.message
  }
  return assert.fail('it was accepted')
}

test('defaults are filled in, keys become camel case', async () => {
  const config = await parseTrainConfig(utf8(BASE))
  assert.equal(config.data.rev, 'HEAD')
  assert.equal(config.labelPolicy.normalAs, 'all_zero')
  assert.deepEqual(config.image.size, [128, 128])
  assert.equal(config.loss.name, 'bce')
  assert.equal(config.optimizer.lr, 0.001)
  assert.equal(config.augment.ops.length, 5)
  assert.deepEqual(config.split.values, { train: ['train'], val: ['val'], test: ['test'] })
})

test('defaults follow the task and the optimizer', async () => {
  const config = await parseTrainConfig(BASE.replace('binary', 'multiclass'), {
    sets: ['optimizer.name=sgd'],
  })
  assert.equal(config.loss.name, 'categorical_ce')
  assert.equal(config.labelPolicy.normalAs, 'own_class')
  assert.equal(config.optimizer.lr, 0.01)
  assert.equal(config.optimizer.momentum, 0.9)
})

test('an operation takes its defaults by its name', async () => {
  const config = await parseTrainConfig(`${BASE}augment: {ops: [{op: shift}, {op: zoom, p: 1}]}`)
  assert.deepEqual(config.augment.ops, [
    { op: 'shift', fraction: 0.05, p: 0.5 },
    { op: 'zoom', range: [0.9, 1.1], p: 1 },
  ])
})

test('one unknown key names the nearest and its line', async () => {
  const text = await problems(BASE.replace('  group', '  wher: x\n  group'))
  assert.equal(text, 'train.yaml: line 6: data.wher is unknown; did you mean data.where?')
})

test('a key in the wrong place names the right one', async () => {
  assert.match(
    await problems(`${BASE}lr: 1`),
    /line 7: lr is unknown; did you mean optimizer\.lr\?/,
  )
  assert.match(await problems(`${BASE}labelPolicy: {}`), /did you mean label_policy\?/)
})

test('all problems are told at once, each with its line', async () => {
  const text = await problems(
    `${BASE}optimizer:\n  lr: fast\n  moment: 1\ntask2: x\nimage: { size: [64, 9000] }\nname: 12\n`,
  )
  assert.match(text, /has 5 problems/)
  assert.match(text, /line 8: optimizer\.lr must be a number above 0 and at most 10; it is "fast"/)
  assert.match(text, /line 9: optimizer\.moment is unknown; did you mean optimizer\.momentum\?/)
  assert.match(text, /line 10: task2 is unknown; did you mean task\?/)
  assert.match(text, /line 11: image\.size must be/)
  assert.match(text, /line 12: name must be .*; it is 12; put it in quotes: "12"/)
})

test('numbers with exponents are numbers, quoted ones are told apart', async () => {
  const config = await parseTrainConfig(`${BASE}optimizer: { lr: 1e-4 }`)
  assert.equal(config.optimizer.lr, 1e-4)
  assert.match(await problems(`${BASE}optimizer: { lr: "1e-4" }`), /leave out the quotes/)
  assert.match(await problems(`${BASE}optimizer: { lr: .inf }`), /optimizer\.lr must be/)
  assert.match(await problems(`${BASE}seed: 1.5`), /seed must be a whole number/)
})

test('--set lays typed values over the file, in order', async () => {
  const config = await parseTrainConfig(BASE, {
    sets: [
      'train.epochs=3',
      'train.epochs=4',
      'data.where="Patient ID" < 20',
      'data.label.classes=[A, B]',
      'name=7',
      'image.size=64',
    ],
  })
  assert.equal(config.train.epochs, 4)
  assert.equal(config.data.where, '"Patient ID" < 20')
  assert.deepEqual(config.data.label.classes, ['A', 'B'])
  assert.equal(config.name, '7')
  assert.deepEqual(config.image.size, [64, 64])
})

test('--set takes text without quotes as it is, and with them as YAML does', async () => {
  const where = async (text: string): Promise<string> =>
    (await parseTrainConfig(BASE, { sets: [`data.where=${text}`] })).data.where
  for (const text of ["name not in ('a #1.png')", '"Age" > 4', 'a: b', '| x', '']) {
    assert.equal(await where(text), text)
  }
  assert.equal(await where(`"a = 'x'"`), "a = 'x'")
  assert.equal(await where("'a #1'"), 'a #1')
})

test('--set with an unknown path, no value or a wrong type is an error', async () => {
  const text = await problems(BASE, ['train.epoch=3', 'seed', 'seed=[1', 'train.batch=many'])
  assert.match(text, /--set train\.epoch is unknown; did you mean train\.epochs\?/)
  assert.match(text, /--set seed must be KEY=VALUE/)
  assert.match(text, /--set seed: not a YAML value/)
  assert.match(text, /  train\.batch must be a whole number/)
})

const RULES: readonly (readonly [yaml: string, message: RegExp])[] = [
  ['loss: { name: categorical_ce }', /loss\.name must be bce or weighted_bce for task: binary/],
  ['loss: { pos_weight: 2 }', /loss\.pos_weight is for loss\.name: weighted_bce/],
  ['loss: { name: weighted_bce, pos_weight: [1, 2] }', /has 2 entries for 1 labels/],
  ['split: { ratios: { train: 0.5, val: 0.1, test: 0.3 } }', /ratios must sum to 1; .* = 0\.9/],
  ['split: { method: column }', /split\.column is missing/],
  ['split: { column: fold }', /split\.column is for split\.method: column/],
  ['split: { method: column, column: f, values: { val: [train] } }', /"train", which .* names too/],
  ['split: { method: column, column: f, ratios: { val: 0.2 } }', /split\.ratios is for/],
  ['optimizer: { momentum: 0.5 }', /optimizer\.momentum is for optimizer\.name: sgd/],
  ['label_policy: { positive: [No Finding] }', /names "No Finding"/],
  ['label_policy: { multiple: first }', /is for task: multiclass/],
  ['label_policy: { normal_as: own_class }', /own_class has no effect for task: binary/],
  ['schedule: { name: cosine, min_lr: 0.1 }', /min_lr \(0\.1\) is above optimizer\.lr/],
  ['schedule: { warmup_epochs: 30 }', /warmup_epochs \(30\) is above train\.epochs/],
  ['augment: { apply_to: all, ops: [] }', /augment\.ops is empty/],
  ['augment: { ops: [{ op: zoom, range: [2, 1] }] }', /from low to high/],
  ['augment: { ops: [{ op: spin }] }', /ops\[0\]\.op must be one of/],
  ['augment: { ops: [{ op: shift, degrees: [1, 2] }] }', /ops\[0\]\.degrees is unknown/],
]
/** A key, a value that is not its default, a set that leaves it without effect, one that gives it one. */
const WITHOUT_EFFECT: readonly (readonly [string, string, string, string])[] = [
  ['balance.target', '0.5', 'balance.method=none', 'balance.method=oversample'],
  ['augment.minority_below', '0.3', 'augment.apply_to=all', 'augment.apply_to=minority'],
  ['augment.functions_per_class', '3', 'augment.apply_to=none', 'augment.apply_to=minority'],
  ['schedule.min_lr', '1e-5', 'schedule.name=constant', 'schedule.name=cosine'],
  ['early_stop.patience', '9', 'early_stop.monitor=none', 'early_stop.monitor=val/loss'],
  ['early_stop.min_delta', '0.1', 'early_stop.monitor=none', 'early_stop.monitor=val/loss'],
  ['split.stratify', 'false', 'split={method: column, column: fold}', 'split.method=group'],
  ['label_policy.unknown', 'drop', 'data.label.classes=[]', 'data.label.classes=[A, B]'],
]
for (const [key, value, idle, used] of WITHOUT_EFFECT) {
  test(`refused where it has no effect: ${key}`, async () => {
    const set = `${key}=${value}`
    assert.match(await problems(BASE, [idle, set]), new RegExp(`${key} is for `))
    const config = await parseTrainConfig(BASE, { sets: [used, set] })
    assert.deepEqual(await parseTrainConfig(encodeTrainConfig(config)), config)
  })
}

test('a key without effect may be written with its default, as older resolved files have it', async () => {
  const written = `${BASE}
balance: { method: none, target: 1 }
augment: { apply_to: none, minority_below: 0.5, functions_per_class: 10 }
schedule: { name: constant, min_lr: 0 }
early_stop: { monitor: none, patience: 5, min_delta: 0 }
label_policy: { unknown: error, uncertain: ignore }
`
  const config = await parseTrainConfig(written)
  const again = encodeTrainConfig(config)
  for (const key of ['target', 'functions_per_class', 'min_lr', 'patience', 'unknown']) {
    assert.doesNotMatch(again, new RegExp(`\\b${key}:`))
  }
  assert.deepEqual(await parseTrainConfig(again), config)
})

for (const [yaml, message] of RULES) {
  test(`refused: ${yaml}`, async () => {
    assert.match(await problems(BASE + yaml), message)
  })
}

test('rules of the task: positive only for binary, classes and normal of multiclass', async () => {
  const multi = BASE.replace('binary', 'multiclass')
  assert.match(await problems(`${multi}label_policy: { positive: [A] }`), /is for task: binary/)
  assert.match(
    await problems(`${multi}label_policy: { normal_as: all_zero }`),
    /cannot be all_zero/,
  )
  assert.match(await problems(`${multi}label_policy: { missing: zeros }`), /cannot be zeros/)
  assert.match(
    await problems(`${multi}label_policy: { uncertain: ones }`),
    /uncertain is for task: binary or multilabel/,
  )
  assert.match(await problems(`${multi}loss: { name: bce }`), /must be categorical_ce/)
})

test('hostile YAML is refused, not followed', async () => {
  const bomb = ['a: &a [x, x, x, x, x, x, x, x, x]']
  for (const [one, next] of ['ab', 'bc', 'cd', 'de', 'ef', 'fg'].map((p) => [...p])) {
    bomb.push(`${next}: &${next} [${`*${one}, `.repeat(9)}]`)
  }
  assert.match(await problems(bomb.join('\n')), /alias/i)
  assert.match(await problems('['.repeat(50_000)), /stack|not YAML/i)
  assert.match(await problems(' '.repeat((1 << 20) + 1)), /at most 1048576 are read/)
  assert.match(await problems('a: !!js/function x'), /tag/)
  assert.match(await problems('a: 1\n---\nb: 2'), /multiple documents/)
  assert.match(await problems('version: 1\nversion: 1'), /unique/)
  assert.match(await problems('<<: { version: 1 }'), /<< is unknown/)
  assert.match(await problems(new Uint8Array([0xff, 0xfe])), /cannot be read/)
  assert.match(await problems(''), /empty/)
})

test('no key reaches a prototype', async () => {
  const yaml = `${BASE}__proto__: { polluted: 1 }\nconstructor: { prototype: { polluted: 1 } }`
  const text = await problems(yaml, ['__proto__.polluted=1', 'constructor.prototype.polluted=1'])
  assert.match(text, /__proto__ is unknown/)
  assert.match(text, /--set constructor\.prototype\.polluted is unknown/)
  assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false)
})

test('what is encoded parses back to the same configuration', async () => {
  const label = fc
    .string({ minLength: 1, maxLength: 12, unit: 'binary' })
    .filter((s) => !/[\u0000-\u001f\u007f]/.test(s))
  const words = fc.uniqueArray(label, { minLength: 2, maxLength: 4 })
  const share = fc.integer({ min: 1, max: 40 }).map((n) => n / 100)
  await fc.assert(
    fc.asyncProperty(
      words,
      fc.constantFrom('binary', 'multiclass', 'multilabel'),
      fc.constantFrom('adam', 'sgd'),
      fc.record({ val: share, test: share, lr: fc.double({ min: 1e-9, max: 10, noNaN: true }) }),
      fc.string({ maxLength: 40 }),
      async (classes, task, optimizer, { val, test: held, lr }, where) => {
        const given = {
          version: 1,
          task,
          name: classes[0],
          data: { table: classes[0], where, group: classes[1], label: { column: 'c', classes } },
          split: { ratios: { train: 1 - val - held, val, test: held } },
          optimizer: { name: optimizer, lr },
        }
        const config = await parseTrainConfig(JSON.stringify(given))
        const again = await parseTrainConfig(encodeTrainConfig(config))
        assert.deepEqual(again, config)
        assert.ok(isRecord(config.data))
      },
    ),
    { numRuns: 60, seed: 7 },
  )
})

test('an operation of augment.ops that is listed twice is refused', async () => {
  const twice = 'augment.ops=[{op: rotate, degrees: [-5, 5]}, {op: zoom}, {op: rotate}]'
  const source = `version: 1
task: binary
data: { table: t, group: g, label: { column: c } }
`
  await assert.rejects(parseTrainConfig(source, { sets: [twice] }), (error) => {
    assert.ok(isCxvError(error, 'TRAIN_CONFIG_INVALID'))
    assert.match(error.message, /augment\.ops \[2\] is a second rotate/)
    return true
  })
  const once = 'augment.ops=[{op: zoom}, {op: rotate}]'
  assert.equal((await parseTrainConfig(source, { sets: [once] })).augment.ops.length, 2)
})
