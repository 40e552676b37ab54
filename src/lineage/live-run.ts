import { join } from 'node:path'
import {
  type Context,
  CxvError,
  isRecord,
  isRunId,
  parseJsonBytes,
  type RunId,
  runId,
  toHex,
  utf8,
} from '../base/index.ts'
import { decodeRunRecord, encodeRunRecord, type RunRecord } from '../format/index.ts'
import {
  appendLine,
  bootId,
  hostname,
  makeFolder,
  namesIn,
  processAlive,
  processStart,
  readFileIfAny,
  writeFileAtomic,
  writeFileFast,
} from '../io/index.ts'

const HEARTBEAT_MS = 10_000
/** A run on another machine whose heartbeat is older than this has stopped (12 missed beats). */
const STALE_MS = 120_000
const MAX_RECORD_BYTES = 64 << 20

/** A new run id: 8 base-36 digits of the time in milliseconds, then 3 random ones. */
export function newRunId(ctx: Context): RunId {
  const time = Math.floor(ctx.now()).toString(36).padStart(8, '0')
  const random = (parseInt(toHex(ctx.random(4)), 16) % 36 ** 3).toString(36).padStart(3, '0')
  return runId(`r${time}${random}`)
}

/**
 * A run folder while it is written: `.cxv/runs/<id>/`. Files are appended to or replaced whole, so a
 * copy made at any byte can be read.
 */
export interface LiveRun {
  readonly id: RunId
  readonly folder: string
  readonly record: () => RunRecord
  /** Durable. */
  update(change: Partial<RunRecord>): void
  write(name: string, bytes: Uint8Array): void
  read(name: string): Promise<Uint8Array | undefined>
  /** Appends one JSON line to `metrics.jsonl`. */
  logMetrics(row: Readonly<Record<string, unknown>>): void
  /** Stops the heartbeat. */
  close(): void
}

export const runsFolder = (cxvFolder: string): string => join(cxvFolder, 'runs')

/**
 * Opens a run folder for writing and starts its heartbeat.
 * @param files durable before the record is there, so that a run which is seen can be resumed
 */
export function openLiveRun(
  ctx: Context,
  cxvFolder: string,
  first: RunRecord,
  files: Readonly<Record<string, Uint8Array>> = {},
): LiveRun {
  const folder = join(runsFolder(cxvFolder), first.id)
  makeFolder(folder)
  for (const [name, bytes] of Object.entries(files)) writeFileAtomic(join(folder, name), bytes)
  let record = first
  const me = {
    pid: process.pid,
    start: processStart(process.pid),
    host: hostname(),
    boot: bootId(),
  }
  const beat = (): void =>
    writeFileFast(join(folder, 'heartbeat.json'), utf8(JSON.stringify({ ...me, at: ctx.now() })))
  beat()
  writeFileAtomic(join(folder, 'run.json'), encodeRunRecord(record))
  const timer = setInterval(beat, HEARTBEAT_MS)
  timer.unref()
  return {
    id: first.id,
    folder,
    record: () => record,
    update(change) {
      record = { ...record, ...change }
      writeFileAtomic(join(folder, 'run.json'), encodeRunRecord(record))
    },
    write: (name, bytes) => writeFileAtomic(join(folder, name), bytes),
    read: (name) => readFileIfAny(join(folder, name)),
    logMetrics: (row) => appendLine(join(folder, 'metrics.jsonl'), JSON.stringify(row)),
    close: () => clearInterval(timer),
  }
}

/** The record in a run folder with its status as it is now: a run whose process is gone is interrupted. */
export async function readLiveRun(
  cxvFolder: string,
  id: RunId,
  now: number,
): Promise<RunRecord | undefined> {
  const folder = join(runsFolder(cxvFolder), id)
  const bytes = await readFileIfAny(join(folder, 'run.json'), MAX_RECORD_BYTES)
  if (bytes === undefined) return undefined
  const record = decodeRunRecord(bytes)
  if (record.status !== 'running') return record
  const beat = await readFileIfAny(join(folder, 'heartbeat.json'), 4096)
  if (isBeating(beat, now)) return record
  return { ...record, status: 'interrupted', reason: 'its process ended without a word' }
}

/** Every run that has a folder here, oldest first. Unreadable ones are left out with a warning. */
export async function readLiveRuns(ctx: Context, cxvFolder: string): Promise<readonly RunRecord[]> {
  const records: RunRecord[] = []
  for (const name of namesIn(runsFolder(cxvFolder)).sort()) {
    if (!isRunId(name)) continue
    try {
      const record = await readLiveRun(cxvFolder, name, ctx.now())
      if (record !== undefined) records.push(record)
    } catch (error) {
      if (!(error instanceof CxvError)) throw error
      ctx.emit({ type: 'warn', code: error.code, message: `run ${name}: ${error.message}` })
    }
  }
  return records
}

function isBeating(bytes: Uint8Array | undefined, now: number): boolean {
  if (bytes === undefined) return false
  let beat: unknown
  try {
    beat = parseJsonBytes(bytes)
  } catch {
    return false
  }
  if (!isRecord(beat)) return false
  const { pid, start, host, boot, at } = beat
  if (host === hostname()) {
    if (boot !== bootId() || typeof pid !== 'number' || !processAlive(pid)) return false
    // Another start is another process, which got the number of the one that is gone.
    const startNow = processStart(pid)
    return start === undefined || startNow === undefined || startNow === start
  }
  return typeof at === 'number' && now - at < STALE_MS
}
