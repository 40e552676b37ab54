import { formatCount, formatDuration, isCxvError, isRecord, plural } from '../base/index.ts'
import type { RunRecord } from '../format/index.ts'
import { findRun, type KnownRun, samplesOf } from '../lineage/index.ts'
import type { Repository } from '../repo/types.ts'
import { dataText, formatTime, runLine, type RunSummary, summarise } from './run-text.ts'
import type { CommandContext, TextStyle } from './types.ts'

export interface ShownRun {
  readonly kind: 'run'
  readonly summary: RunSummary
  readonly record: RunRecord
  readonly splits: Readonly<Record<string, { readonly images: number; readonly patients: number }>>
}

/** The run a word means, as `log --model` and `trace --model` take it. @throws CxvError REV_AMBIGUOUS */
export async function runNamed(
  ctx: CommandContext,
  repo: Repository,
  word: string,
): Promise<KnownRun | undefined> {
  try {
    return await findRun(ctx, repo, word)
  } catch (error) {
    if (isCxvError(error, 'RUN_UNKNOWN')) return undefined
    throw error
  }
}

export async function showRun(
  ctx: CommandContext,
  repo: Repository,
  run: KnownRun,
): Promise<ShownRun> {
  const samples = (await samplesOf(ctx, repo, run)) ?? []
  const splits: Record<string, { images: number; patients: number }> = {}
  for (const split of ['train', 'val', 'test']) {
    const members = samples.filter((s) => s.split === split)
    splits[split] = { images: members.length, patients: new Set(members.map((s) => s.group)).size }
  }
  return { kind: 'run', summary: summarise(run), record: run.record, splits }
}

export function* runLines(
  { summary, record, splits }: ShownRun,
  style: TextStyle,
): Iterable<string> {
  yield runLine(summary, style)
  yield `  ${record.reason}`
  const ended =
    record.endedAt === null ? '' : `, took ${formatDuration(record.endedAt - record.startedAt)}`
  yield `  started ${formatTime(record.startedAt)}${ended}`
  yield `  ${record.engine.reason}; ${record.engine.version}`
  yield `  ${dataText(summary)}; sample list ${record.sampleList.slice(0, 12)}`
  for (const [split, { images, patients }] of Object.entries(splits)) {
    yield `    ${split.padEnd(6)}${plural(images, 'image')} of ${plural(patients, 'patient')}`
  }
  yield* metricLines(record)
  for (const { name, id, bytes } of record.models) {
    yield `  model ${name}: ${id} (${formatCount(bytes)} bytes)`
  }
  if (record.code !== null) {
    yield `  code ${record.code.commit.slice(0, 10)}${record.code.dirty ? ` with uncommitted changes (${record.code.patch === null ? 'not kept' : `patch ${record.code.patch.slice(0, 12)}`})` : ''}`
  }
  for (const { at, epoch } of record.resumes)
    yield `  resumed ${formatTime(at)} from epoch ${epoch}`
  if (summary.folder !== null) yield `  folder ${summary.folder}`
}

/** Per label: AUROC with its interval, on validation and test. */
function* metricLines({ metrics }: RunRecord): Iterable<string> {
  if (!isRecord(metrics)) return
  for (const split of ['val', 'test']) {
    const figures = metrics[split]
    const labels = isRecord(figures) ? figures['labels'] : undefined
    if (!Array.isArray(labels)) continue
    for (const label of labels as unknown[]) {
      if (!isRecord(label)) continue
      const { label: name, auroc, aurocInterval, positives, negatives } = label
      const figure = typeof auroc === 'number' ? auroc.toFixed(3) : 'undefined (one class only)'
      const range = intervalText(aurocInterval)
      yield `  ${split.padEnd(5)}${String(name)}: AUROC ${figure}${range}  (${String(positives)} positive, ${String(negatives)} negative; floor 0.500)`
    }
  }
}

/** ` [0.961, 0.993]`, or nothing where there is no interval. */
export function intervalText(interval: unknown): string {
  if (!Array.isArray(interval)) return ''
  const [low, high] = interval as unknown[]
  return typeof low === 'number' && typeof high === 'number'
    ? ` [${low.toFixed(3)}, ${high.toFixed(3)}]`
    : ''
}
