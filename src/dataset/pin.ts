import {
  type CommitId,
  type Context,
  contentId,
  createRandom,
  CxvError,
  formatCount,
  type Json,
  plural,
  type SampleListId,
  seedOf,
} from '../base/index.ts'
import { encodeSampleList, sampleListIdOf } from '../format/index.ts'
import type { TrainConfig } from '../format/types.ts'
import type { ManifestRow, Repository, TableDeclaration } from '../repo/types.ts'
import {
  columnUnknown,
  coverage,
  joinSelect,
  openTables,
  openTablesOf,
  quoteName,
  type TableSession,
} from '../table/index.ts'
import { readLabels } from './labels.ts'
import { checkSplits, splitByColumn, splitByGroup } from './split.ts'
import type { PinnedSample, SplitName } from './types.ts'

export interface SplitFacts {
  readonly images: number
  readonly patients: number
  /** Images with each label. */
  readonly classes: Readonly<Record<string, number>>
  /** Images with no label, in binary and multilabel tasks. Not a class: a label may have any name. */
  readonly none?: number
}

/** A pin: what a run trains on, resolved to images in order. */
export interface PinResolution {
  readonly labels: readonly string[]
  /** Sorted by path. */
  readonly samples: readonly PinnedSample[]
  readonly sampleList: Uint8Array
  readonly sampleListId: SampleListId
  readonly splits: Readonly<Record<SplitName, SplitFacts>>
  /** What the run record keeps: all of the question and the counts of the answer. */
  readonly pin: Json
  readonly notes: readonly string[]
}

/** What a commit would hold. */
export interface UncommittedVersion {
  /** Sorted by path. */
  readonly rows: readonly ManifestRow[]
  readonly tables: readonly TableDeclaration[]
}

type PinConfig = Pick<TrainConfig, 'data' | 'task' | 'labelPolicy' | 'split'>

interface CohortRow {
  readonly path: string
  readonly id: string
  readonly cell: string | null
  readonly group: string
  readonly split: string | null
}

/**
 * Resolves a cohort of a version to a sample list: rows joined to images, labels read by policy, whole
 * patients dealt to splits. The same commit and configuration give the same list on every machine.
 * @throws CxvError TABLE_UNKNOWN, COLUMN_UNKNOWN, SQL_FAILED, COHORT_EMPTY, LABEL_POLICY, SPLIT_INVALID
 */
export async function resolvePin(
  ctx: Context,
  repo: Repository,
  config: PinConfig,
  version: CommitId | UncommittedVersion,
): Promise<PinResolution> {
  const only = { only: [config.data.table] }
  const session =
    typeof version === 'string'
      ? await openTables(ctx, repo, version, only)
      : await openTablesOf(ctx, repo, version.rows, version.tables, only)
  const notes: string[] = []
  let cohort: readonly CohortRow[]
  try {
    cohort = await readCohort(session, config)
    notes.push(...(await checkCoverage(session, config)))
  } finally {
    session.close()
  }
  if (cohort.length === 0) {
    throw new CxvError('COHORT_EMPTY', 'no image of that version is in the cohort', {
      hint:
        config.data.where === ''
          ? '`cxv table list` shows how rows name files'
          : 'check data.where with `cxv query`',
    })
  }
  const labelling = readLabels(cohort, config)
  notes.push(...labelling.notes)
  const members = cohort.flatMap((row, i) => {
    const y = labelling.y[i]
    return y === undefined ? [] : [{ ...row, y }]
  })
  if (members.length === 0) {
    throw new CxvError('COHORT_EMPTY', 'the label policy leaves no image', {
      hint: 'look at label_policy in train.yaml',
    })
  }
  const kept = limitTo(members, config)
  const splits =
    config.split.method === 'column'
      ? splitByColumn(
          kept.map((m) => m.split),
          config.split,
        )
      : splitByGroup(kept, config.split)
  const samples: PinnedSample[] = kept.map((m, i) => ({
    path: m.path,
    id: contentId(m.id),
    group: m.group,
    split: splits[i] ?? 'train',
    y: m.y,
  }))
  checkSplits(samples)
  const facts = {
    train: factsOf('train', samples, labelling.labels, config.task),
    val: factsOf('val', samples, labelling.labels, config.task),
    test: factsOf('test', samples, labelling.labels, config.task),
  }
  const sampleList = encodeSampleList(samples)
  const sampleListId = sampleListIdOf(sampleList)
  const { data, task, labelPolicy, split } = config
  return {
    labels: labelling.labels,
    samples,
    sampleList,
    sampleListId,
    splits: facts,
    notes,
    // Through JSON: what is kept is what can be read back.
    pin: JSON.parse(
      JSON.stringify({
        commit: typeof version === 'string' ? version : null,
        data,
        task,
        labels: labelling.labels,
        labelPolicy,
        split,
        splits: facts,
        sampleList: sampleListId,
        notes,
      }),
    ) as Json,
  }
}

async function readCohort(
  session: TableSession,
  { data, split }: PinConfig,
): Promise<readonly CohortRow[]> {
  const table = session.table(data.table)
  const { declaration, columns } = table
  if (declaration.match === 'none') {
    throw new CxvError('TABLE_INVALID', `the rows of table ${data.table} name no files`, {
      hint: `\`cxv table add ${data.table} ${declaration.path} --key "${declaration.key}" --path-root FOLDER\` says where their images are, then commit`,
    })
  }
  const wanted = [
    data.label.column,
    data.group,
    ...(split.method === 'column' ? [split.column] : []),
  ]
  for (const column of wanted) if (!columns.includes(column)) throw columnUnknown(column, columns)
  const text = (column: string): string => `cast(${quoteName(column)} as varchar)`
  const where = data.where.trim() === '' ? '' : `where (${data.where}\n)`
  // By names of our own: the table may have columns called as a file's are.
  const files = joinSelect(table, ['f.path as "cxv path"', 'f.id as "cxv id"'])
  const { rows } = await session.query(
    `select "cxv path", "cxv id", ${text(data.label.column)}, ${text(data.group)}, ${split.method === 'column' ? text(split.column) : 'null'}
     from (${files}) ${where} order by cast("cxv path" as blob), ${text(declaration.key)}`,
  )
  const without: string[] = []
  const cohort = rows.map(([path, id, cell, group, value]) => {
    if (group === null || String(group).trim() === '') without.push(String(path))
    return {
      path: String(path),
      id: String(id),
      cell: cell === null || cell === undefined ? null : String(cell),
      group: String(group),
      split: value === null || value === undefined ? null : String(value),
    }
  })
  if (without.length > 0) {
    throw new CxvError(
      'SPLIT_INVALID',
      `${plural(without.length, 'row')} without a value in "${data.group}": ${without.slice(0, 3).join(', ')}`,
      {
        hint: 'every image needs its patient: correct the rows, or leave them out with data.where',
      },
    )
  }
  for (let i = 1; i < cohort.length; i++) {
    if (cohort[i]?.path === cohort[i - 1]?.path) {
      throw new CxvError(
        'TABLE_KEY',
        `several rows of ${data.table} name ${cohort[i]?.path ?? ''}`,
        {
          hint: 'one row an image: correct the table, or leave rows out with data.where',
        },
      )
    }
  }
  return cohort
}

/** Rows of the cohort without an image, and images without a row, as the policy wants them told. */
async function checkCoverage(
  session: TableSession,
  { data, labelPolicy }: PinConfig,
): Promise<readonly string[]> {
  const { declaration } = session.table(data.table)
  const report = await coverage(session, declaration, data.where)
  const said: string[] = []
  const tell = (
    policy: 'error' | 'warn' | 'ignore',
    found: { count: number; examples: readonly string[] },
    what: string,
  ): void => {
    if (found.count === 0 || policy === 'ignore') return
    const message = `${formatCount(found.count)} ${what}: ${found.examples.slice(0, 3).join(', ')}${found.count > 3 ? ', ...' : ''}`
    if (policy === 'error') {
      throw new CxvError('LABEL_POLICY', message, {
        hint: 'add them, or set label_policy.missing_images or images_without_row to warn',
        data: { count: found.count, examples: found.examples },
      })
    }
    said.push(message)
  }
  tell(labelPolicy.missingImages, report.rowsWithoutFile, 'rows whose image is not tracked')
  if (data.where.trim() === '')
    tell(labelPolicy.imagesWithoutRow, report.filesWithoutRow, 'images without a row')
  return said
}

/** At most `data.limit` images: whole patients in an order drawn from the split's seed. */
function limitTo<T extends { readonly group: string }>(
  members: readonly T[],
  { data, split }: PinConfig,
): readonly T[] {
  if (data.limit === 0 || members.length <= data.limit) return members
  const sizes = new Map<string, number>()
  for (const { group } of members) sizes.set(group, (sizes.get(group) ?? 0) + 1)
  const groups = createRandom(seedOf(split.seed, 'limit')).shuffle([...sizes.keys()].sort())
  const kept = new Set<string>()
  let total = 0
  for (const group of groups) {
    const size = sizes.get(group) ?? 0
    if (total + size > data.limit) continue
    kept.add(group)
    total += size
  }
  return members.filter((m) => kept.has(m.group))
}

function factsOf(
  split: SplitName,
  samples: readonly PinnedSample[],
  labels: readonly string[],
  task: TrainConfig['task'],
): SplitFacts {
  const members = samples.filter((s) => s.split === split)
  const classes = Object.fromEntries(
    labels.map((label, k) => [label, members.filter((m) => m.y[k] === 1).length]),
  )
  const none = members.filter((m) => m.y.every((v) => v === 0)).length
  return {
    images: members.length,
    patients: new Set(members.map((m) => m.group)).size,
    classes,
    ...(task === 'multiclass' ? {} : { none }),
  }
}
