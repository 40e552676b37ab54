import { isRecord, type Json } from '../base/index.ts'
import type { KnownRun } from '../lineage/index.ts'
import type { TextStyle } from './types.ts'

export interface RunSummary {
  readonly run: string
  readonly name: string
  readonly status: string
  readonly startedAt: number
  readonly endedAt: number | null
  readonly commit: string
  readonly rev: string
  /** `commit` is a snapshot of a changed work tree, taken from this one (null: that is not here). */
  readonly snapshot: boolean
  readonly takenFrom: string | null
  readonly task: string
  readonly engine: string
  readonly sampleList: string
  /** The headline figure on the test split, when there is one. */
  readonly testAuroc: number | null
  readonly models: readonly { readonly name: string; readonly id: string; readonly bytes: number }[]
  readonly reason: string
  /** Sealed in the history, so that it travels. */
  readonly sealed: boolean
  readonly folder: string | null
}

/** What `runs`, `log` and `show` say of a run. */
export function summarise(run: KnownRun): RunSummary {
  const { record } = run
  return {
    run: record.id,
    name: record.name,
    status: record.status,
    startedAt: record.startedAt,
    endedAt: record.endedAt,
    commit: record.commit,
    rev: record.rev,
    snapshot: record.snapshot,
    takenFrom: run.takenFrom,
    task: textAt(record.config, 'task'),
    engine: record.engine.name,
    sampleList: record.sampleList,
    testAuroc: headline(record.metrics),
    models: record.models,
    reason: record.reason,
    sealed: run.sealed !== null,
    folder: run.folder,
  }
}

/** The mean AUROC over labels on the test split. */
function headline(metrics: Json | null): number | null {
  const test = isRecord(metrics) ? metrics['test'] : undefined
  const auroc = isRecord(test) ? test['aurocMacro'] : undefined
  return typeof auroc === 'number' ? auroc : null
}

const textAt = (value: Json, key: string): string =>
  isRecord(value) && typeof value[key] === 'string' ? value[key] : ''

/** `r0abc... kermany  finished  2026-11-23 14:05  test AUROC 0.981  model 8f3a12c4` */
export function runLine(run: RunSummary, style: TextStyle): string {
  const model = run.models.find((m) => m.name === 'best') ?? run.models[0]
  const parts = [
    `${style.bold(run.run)} ${run.name}`,
    paintStatus(run.status, style),
    formatTime(run.startedAt),
    run.testAuroc === null ? undefined : `test AUROC ${run.testAuroc.toFixed(3)}`,
    model === undefined ? undefined : `model ${model.id.slice(0, 12)}`,
    run.snapshot ? style.yellow('with uncommitted changes') : undefined,
  ]
  return parts.filter((p) => p !== undefined).join('  ')
}

/** `data 1f2e3d4c5b (main)`, and of a snapshot what it was taken from. */
export function dataText(
  run: Pick<RunSummary, 'commit' | 'rev' | 'snapshot' | 'takenFrom'>,
): string {
  const of = run.takenFrom === null ? 'a changed work tree' : run.takenFrom.slice(0, 10)
  return `data ${run.commit.slice(0, 10)} (${run.rev}${run.snapshot ? `, a snapshot of ${of} with uncommitted changes` : ''})`
}

function paintStatus(status: string, style: TextStyle): string {
  if (status === 'finished') return style.green(status)
  if (status === 'running') return style.yellow(status)
  return style.red(status)
}

/** `2026-11-23 14:05` in local time. */
export function formatTime(ms: number): string {
  const d = new Date(ms)
  const two = (n: number): string => String(n).padStart(2, '0')
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}`
}
