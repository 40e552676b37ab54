import { CxvError, formatCount, nearest } from '../base/index.ts'
import type { LabelPolicy, TrainConfig } from '../format/types.ts'

export interface LabelledRow {
  readonly path: string
  readonly cell: string | null
}

export interface Labelling {
  /** Meaning of y, in order. Binary: one name. */
  readonly labels: readonly string[]
  /** One entry a row; undefined: left out by policy. */
  readonly y: readonly (readonly number[] | undefined)[]
  /** What was left out, taken as something, or is to be told, by reason, with counts. */
  readonly notes: readonly string[]
}

const UNCERTAIN = /^-1(\.0+)?$/
const UNCERTAIN_AS = {
  ones: [1, 'present'],
  zeros: [0, 'absent'],
  ignore: [Number.NaN, 'unknown'],
} as const
const MISSING = {
  error: ['error', ''],
  drop: ['drop', ', left out'],
  zeros: ['warn', ', taken as no label'],
  ignore: ['warn', ', taken as unknown'],
} as const
const EXAMPLES = 3

/**
 * Reads label cells by policy: 1 present, 0 absent, NaN unknown.
 * @throws CxvError LABEL_POLICY naming what does not fit, with counts and examples
 */
export function readLabels(
  rows: readonly LabelledRow[],
  config: Pick<TrainConfig, 'task' | 'labelPolicy'> & { readonly data: TrainConfig['data'] },
): Labelling {
  const { task, labelPolicy: policy, data } = config
  const parsed = rows.map(({ cell }) => parseCell(cell, data.label.separator))
  const occurring = new Set(parsed.flatMap((tokens) => (typeof tokens === 'string' ? [] : tokens)))
  const classes = chooseClasses(task, policy, data.label.classes, occurring)
  const known = knownLabels(config, classes, occurring)
  const tally = createTally()
  const y = parsed.map((tokens, i) => {
    const path = rows[i]?.path ?? ''
    if (tokens === 'missing') return onMissing(policy, classes.length, path, tally)
    if (tokens === 'uncertain') return onUncertain(task, policy, classes.length, path, tally)
    const strange = tokens.filter((t) => !known.has(t))
    for (const t of strange)
      tally.add(policy.unknown, `label "${t}" is not in data.label.classes`, path)
    if (strange.length > 0 && policy.unknown === 'drop') return undefined
    const counted = tokens.filter((t) => known.has(t))
    return vectorOf(task, policy, classes, counted, path, tally)
  })
  tally.throwErrors(data.label.classes, occurring)
  checkMinimum(classes, y, policy.minCount)
  return { labels: classes, y, notes: tally.notes() }
}

/** The labels that mean something: those named, or all that occur where none are. */
function knownLabels(
  { task, labelPolicy, data }: Pick<TrainConfig, 'task' | 'labelPolicy' | 'data'>,
  classes: readonly string[],
  occurring: ReadonlySet<string>,
): ReadonlySet<string> {
  const { classes: named } = data.label
  const ofTask = task !== 'binary' ? classes : named.length > 0 ? named : occurring
  return new Set([...ofTask, labelPolicy.normal, ...labelPolicy.positive])
}

type Tokens = 'missing' | 'uncertain' | readonly string[]

function parseCell(cell: string | null, separator: string): Tokens {
  const text = cell?.trim() ?? ''
  if (text === '') return 'missing'
  if (UNCERTAIN.test(text)) return 'uncertain'
  const tokens = separator === '' ? [text] : text.split(separator).map((t) => t.trim())
  const labels = [...new Set(tokens.filter((t) => t !== ''))]
  return labels.length === 0 ? 'missing' : labels
}

function chooseClasses(
  task: TrainConfig['task'],
  policy: LabelPolicy,
  asked: readonly string[],
  occurring: ReadonlySet<string>,
): readonly string[] {
  if (task === 'binary') {
    for (const label of policy.positive) {
      if (occurring.has(label)) continue
      const near = nearest(label, occurring)
      throw new CxvError('LABEL_POLICY', `no row of the cohort has the label "${label}"`, {
        hint:
          near === undefined
            ? `the labels are ${[...occurring].sort().slice(0, 20).join(', ')}`
            : `did you mean "${near}"?`,
      })
    }
    return [
      policy.positive.length === 1
        ? (policy.positive[0] ?? 'positive')
        : policy.positive.length === 0
          ? 'abnormal'
          : policy.positive.join(' or '),
    ]
  }
  const all =
    asked.length > 0 ? [...asked] : [...occurring].sort().filter((l) => l !== policy.normal)
  if (
    policy.normalAs === 'own_class' &&
    !all.includes(policy.normal) &&
    occurring.has(policy.normal)
  ) {
    return [policy.normal, ...all]
  }
  if (all.length === 0) {
    throw new CxvError('LABEL_POLICY', 'no label is left to learn', {
      hint: 'name them in data.label.classes',
    })
  }
  return all
}

function vectorOf(
  task: TrainConfig['task'],
  policy: LabelPolicy,
  classes: readonly string[],
  tokens: readonly string[],
  path: string,
  tally: Tally,
): readonly number[] | undefined {
  const isNormal = tokens.includes(policy.normal)
  if (isNormal && policy.normalAs === 'drop') {
    tally.add('drop', `"${policy.normal}" rows are left out`, path)
    return undefined
  }
  if (task === 'binary') {
    const positive =
      policy.positive.length === 0
        ? tokens.some((t) => t !== policy.normal)
        : tokens.some((t) => policy.positive.includes(t))
    return [positive ? 1 : 0]
  }
  const y = classes.map((c) => (tokens.includes(c) ? 1 : 0))
  if (task === 'multilabel') return y
  const present = y.reduce<number>((sum, v) => sum + v, 0)
  if (present === 1) return y
  if (present === 0) {
    tally.add(
      policy.unknown === 'error' ? 'error' : 'drop',
      'rows without any of the classes',
      path,
    )
    return undefined
  }
  tally.add(policy.multiple, 'rows with several classes', path)
  if (policy.multiple !== 'first') return undefined
  const first = tokens.find((t) => classes.includes(t))
  return classes.map((c) => (c === first ? 1 : 0))
}

function onMissing(
  policy: LabelPolicy,
  n: number,
  path: string,
  tally: Tally,
): readonly number[] | undefined {
  const [severity, outcome] = MISSING[policy.missing]
  tally.add(severity, `empty label cells${outcome}`, path)
  if (policy.missing === 'zeros') return new Array<number>(n).fill(0)
  if (policy.missing === 'ignore') return new Array<number>(n).fill(Number.NaN)
  return undefined
}

function onUncertain(
  task: TrainConfig['task'],
  policy: LabelPolicy,
  n: number,
  path: string,
  tally: Tally,
): readonly number[] | undefined {
  if (task === 'multiclass') {
    // -1 says of one label that it may be there; of one class of several it says nothing.
    tally.add('drop', 'uncertain cells, left out', path)
    return undefined
  }
  const [value, meaning] = UNCERTAIN_AS[policy.uncertain]
  tally.add('warn', `uncertain cells, taken as ${meaning}`, path)
  return new Array<number>(n).fill(value)
}

interface Tally {
  add(severity: 'error' | 'warn' | 'drop' | 'ignore' | 'first', what: string, path: string): void
  throwErrors(asked: readonly string[], occurring: ReadonlySet<string>): void
  notes(): readonly string[]
}

function createTally(): Tally {
  const counts = new Map<string, { severity: string; n: number; examples: string[] }>()
  const say = (what: string, { n, examples }: { n: number; examples: string[] }): string =>
    `${what}: ${formatCount(n)} (${examples.join(', ')}${n > examples.length ? ', ...' : ''})`
  return {
    add(severity, what, path) {
      const entry = counts.get(what) ?? { severity, n: 0, examples: [] }
      entry.n++
      if (entry.examples.length < EXAMPLES) entry.examples.push(path)
      counts.set(what, entry)
    },
    throwErrors(asked) {
      const errors = [...counts].filter(([, e]) => e.severity === 'error')
      if (errors.length === 0) return
      throw new CxvError('LABEL_POLICY', errors.map(([what, e]) => say(what, e)).join('; '), {
        hint:
          asked.length > 0
            ? 'add the labels to data.label.classes, or set label_policy.unknown, missing or multiple'
            : 'set label_policy.missing or multiple in train.yaml',
        data: { problems: errors.map(([what, e]) => ({ what, count: e.n, examples: e.examples })) },
      })
    },
    notes: () =>
      [...counts]
        .filter(([, e]) => e.severity !== 'error' && e.severity !== 'ignore')
        .map(([what, e]) => say(what, e)),
  }
}

function checkMinimum(
  labels: readonly string[],
  y: readonly (readonly number[] | undefined)[],
  minimum: number,
): void {
  if (minimum === 0) return
  const few = labels
    .map((label, i) => ({ label, n: y.filter((row) => row?.[i] === 1).length }))
    .filter(({ n }) => n < minimum)
  if (few.length === 0) return
  throw new CxvError(
    'LABEL_POLICY',
    `fewer than ${minimum} positives: ${few.map((f) => `${f.label} ${f.n}`).join(', ')}`,
    {
      hint: 'leave these labels out of data.label.classes, or lower label_policy.min_count',
    },
  )
}
