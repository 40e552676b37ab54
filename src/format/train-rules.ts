import { canonicalJson, isRecord, type Json } from '../base/index.ts'
import { type SchemaNode, TRAIN_SCHEMA } from './train-schema.ts'
import type { TrainConfig } from './types.ts'

type Path = readonly string[]

interface Crossed {
  readonly path: Path
  readonly message: string
}

/**
 * What no single key can say: rules between keys of a configuration that the schema accepted.
 * @param given whether the file or a set wrote the key; a default that does not apply is no fault
 */
export function crossFieldProblems(
  config: TrainConfig,
  given: (path: Path) => boolean,
): readonly Crossed[] {
  const found: Crossed[] = []
  const put = (path: string, message: string): void => {
    found.push({ path: path.split('.'), message: `${path} ${message}` })
  }
  const wrote = (path: string): boolean => given(path.split('.'))
  labelRules(config, put, wrote)
  splitRules(config, put, wrote)
  lossRules(config, put, wrote)
  trainingRules(config, put, wrote)
  for (const { key, wants, is } of idleKeys(config)) {
    if (wrote(key) && !isDefault(config, key)) put(key, `is for ${wants}; ${is}`)
  }
  return found
}

interface IdleKey {
  readonly key: string
  /** What would give it an effect, and what is there instead. */
  readonly wants: string
  readonly is: string
}

/**
 * Keys that other keys leave without effect. Written with their default they are let pass: it is
 * what happens when they are left out, and resolved files of earlier versions have them.
 */
export function idleKeys(config: TrainConfig): readonly IdleKey[] {
  const { balance, augment, schedule, earlyStop, split, task, data } = config
  const idle = (applies: boolean, keys: readonly string[], wants: string, is: string): IdleKey[] =>
    applies ? [] : keys.map((key) => ({ key, wants, is }))
  return [
    ...idle(
      balance.method === 'oversample',
      ['balance.target'],
      'balance.method: oversample',
      `the method is ${balance.method}`,
    ),
    ...idle(
      augment.applyTo === 'minority',
      ['augment.minority_below', 'augment.functions_per_class'],
      'augment.apply_to: minority',
      `it is ${augment.applyTo}`,
    ),
    ...idle(
      schedule.name === 'cosine',
      ['schedule.min_lr'],
      'schedule.name: cosine',
      `the schedule is ${schedule.name}`,
    ),
    ...idle(
      earlyStop.monitor !== 'none',
      ['early_stop.patience', 'early_stop.min_delta'],
      'an early_stop.monitor',
      'the monitor is none',
    ),
    ...idle(
      split.method === 'group',
      ['split.stratify'],
      'split.method: group',
      `the method is ${split.method}`,
    ),
    ...idle(
      data.label.classes.length > 0,
      ['label_policy.unknown'],
      'labels beside data.label.classes',
      'none are named, so all that occur are known',
    ),
    ...idle(
      task !== 'multiclass',
      ['label_policy.uncertain'],
      'task: binary or multilabel',
      `in task: ${task} an uncertain row is left out`,
    ),
  ]
}

const camel = (key: string): string =>
  key.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase())

function isDefault(config: TrainConfig, key: string): boolean {
  let value: unknown = config
  let schema: SchemaNode | undefined = TRAIN_SCHEMA
  for (const part of key.split('.')) {
    value = isRecord(value) ? value[camel(part)] : undefined
    schema = schema?.properties?.[part]
  }
  return canonicalJson(value as Json) === canonicalJson(schema?.default as Json)
}

type Put = (path: string, message: string) => void
type Wrote = (path: string) => boolean

function labelRules({ task, data, labelPolicy }: TrainConfig, put: Put, wrote: Wrote): void {
  const { classes } = data.label
  const { positive, normal, normalAs } = labelPolicy
  if (task !== 'binary' && positive.length > 0) {
    put('label_policy.positive', `is for task: binary; the task is ${task}`)
  }
  if (positive.includes(normal)) {
    put('label_policy.positive', `names "${normal}", which label_policy.normal says is no finding`)
  }
  const strange = positive.filter((label) => classes.length > 0 && !classes.includes(label))
  if (task === 'binary' && strange.length > 0) {
    put('label_policy.positive', `names "${strange.join('", "')}", not in data.label.classes`)
  }
  if (task === 'multiclass' && normalAs === 'all_zero') {
    put(
      'label_policy.normal_as',
      'cannot be all_zero for task: multiclass, where every image has one class; use own_class or drop',
    )
  }
  if (task === 'multiclass' && labelPolicy.missing === 'zeros') {
    put(
      'label_policy.missing',
      'cannot be zeros for task: multiclass, where every image has one class; use drop or ignore',
    )
  }
  if (task === 'binary' && normalAs === 'own_class') {
    put('label_policy.normal_as', 'own_class has no effect for task: binary; use all_zero or drop')
  }
  if (task === 'multiclass' && classes.length === 1) {
    put('data.label.classes', 'needs two classes or more for task: multiclass')
  }
  if (task !== 'multiclass' && wrote('label_policy.multiple')) {
    put('label_policy.multiple', `is for task: multiclass; the task is ${task}`)
  }
}

function splitRules({ split }: TrainConfig, put: Put, wrote: Wrote): void {
  const { ratios, method, column, values } = split
  if (method === 'group') {
    const sum = ratios.train + ratios.val + ratios.test
    if (Math.abs(sum - 1) > 1e-6) {
      put(
        'split.ratios',
        `must sum to 1; ${ratios.train} + ${ratios.val} + ${ratios.test} = ${Number(sum.toFixed(6))}`,
      )
    }
    for (const key of ['split.column', 'split.values']) {
      if (wrote(key)) put(key, 'is for split.method: column; the method is group')
    }
    return
  }
  if (wrote('split.ratios')) put('split.ratios', 'is for split.method: group; the method is column')
  if (column === '') put('split.column', 'is missing: split.method: column needs it')
  const seen = new Map<string, string>()
  for (const [name, of] of Object.entries(values)) {
    if (of.length === 0) put(`split.values.${name}`, 'must name at least one value of the column')
    for (const value of of) {
      const other = seen.get(value)
      if (other !== undefined) {
        put(`split.values.${name}`, `names "${value}", which split.values.${other} names too`)
      }
      seen.set(value, name)
    }
  }
}

function lossRules({ task, data, loss }: TrainConfig, put: Put, wrote: Wrote): void {
  const fits = task === 'multiclass' ? ['categorical_ce'] : ['bce', 'weighted_bce']
  if (!fits.includes(loss.name)) {
    put('loss.name', `must be ${fits.join(' or ')} for task: ${task}; it is ${loss.name}`)
  }
  if (loss.name !== 'weighted_bce' && wrote('loss.pos_weight')) {
    put('loss.pos_weight', `is for loss.name: weighted_bce; the loss is ${loss.name}`)
  }
  if (typeof loss.posWeight === 'object') {
    const labels = task === 'binary' ? 1 : data.label.classes.length
    if (labels === 0) {
      put('loss.pos_weight', 'as a list needs data.label.classes, whose order it follows')
    } else if (loss.posWeight.length !== labels) {
      put('loss.pos_weight', `has ${loss.posWeight.length} entries for ${labels} labels`)
    }
  }
}

function trainingRules(config: TrainConfig, put: Put, wrote: Wrote): void {
  const { optimizer, schedule, train, augment } = config
  if (optimizer.name !== 'sgd' && wrote('optimizer.momentum')) {
    put('optimizer.momentum', `is for optimizer.name: sgd; the optimizer is ${optimizer.name}`)
  }
  if (schedule.minLr > optimizer.lr) {
    put('schedule.min_lr', `(${schedule.minLr}) is above optimizer.lr (${optimizer.lr})`)
  }
  if (schedule.warmupEpochs > train.epochs) {
    put('schedule.warmup_epochs', `(${schedule.warmupEpochs}) is above train.epochs`)
  }
  if (augment.applyTo !== 'none' && augment.ops.length === 0) {
    put('augment.ops', `is empty, but augment.apply_to is ${augment.applyTo}`)
  }
  for (const [i, op] of augment.ops.entries()) {
    if (augment.ops.findIndex((other) => other.op === op.op) < i) {
      put('augment.ops', `[${i}] is a second ${op.op}; each operation is taken once`)
    }
    const [key, range] =
      op.op === 'rotate'
        ? (['degrees', op.degrees] as const)
        : op.op === 'zoom'
          ? (['range', op.range] as const)
          : (['', [0, 0]] as const)
    if (range[0] > range[1]) {
      put('augment.ops', `[${i}].${key} must go from low to high; it is ${range.join(', ')}`)
    }
  }
}
