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
  return found
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
