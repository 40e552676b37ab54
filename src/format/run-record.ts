import {
  type CommitId,
  type ContentId,
  CxvError,
  contentId,
  isCommitId,
  isRecord,
  isRunId,
  isSha256,
  type Json,
  parseJsonBytes,
  prettyJsonBytes,
  type RunId,
  type SampleListId,
} from '../base/index.ts'

export type RunStatus = 'running' | 'finished' | 'failed' | 'interrupted'

export interface RunModel {
  /** `best` (chosen on validation) or `last`. */
  readonly name: string
  readonly id: ContentId
  readonly bytes: number
  readonly format: 'safetensors'
}

/** Where the arithmetic ran: version, device and threads decide the last bits of every sum. */
interface RunEngine {
  readonly name: string
  /** `TensorFlow 2.20.0 on CPU` */
  readonly version: string
  readonly reason: string
  /** Threads of one operator; absent in records of before it was kept. */
  readonly threads?: number
}

interface RunResume {
  readonly at: number
  readonly epoch: number
  /** What the run went on with, when it was another version, device or number of threads. */
  readonly engine?: string
}

/** One training on one pin: all that is needed to know what it saw, and to do it again. */
export interface RunRecord {
  readonly format: 1
  readonly id: RunId
  readonly name: string
  readonly status: RunStatus
  /** Milliseconds since 1970. */
  readonly startedAt: number
  readonly endedAt: number | null
  /** The dataset commit; the parent of the run's own commit. */
  readonly commit: CommitId
  /** The revision as it was asked for (`main`, `v1.2`). */
  readonly rev: string
  /** The commit is a snapshot of a changed work tree, not one a person made. */
  readonly snapshot: boolean
  /** SHA-256 of the sample list in `samples.tsv` of the run's commit. */
  readonly sampleList: SampleListId
  /** Commit, cohort, label policy, split and their counts, as resolved. */
  readonly pin: Json
  /** train.yaml with every default filled in. */
  readonly config: Json
  readonly seed: number
  readonly engine: RunEngine
  /** The git repository around the work tree, if any; `patch` is `git diff HEAD`, null when too large. */
  readonly code: {
    readonly commit: string
    readonly dirty: boolean
    readonly patch: ContentId | null
  } | null
  readonly versions: Readonly<Record<string, string>>
  readonly hardware: Json
  readonly argv: readonly string[]
  /** Figures of the best model on each split; absent until the run ends. */
  readonly metrics: Json | null
  readonly models: readonly RunModel[]
  readonly resumes: readonly RunResume[]
  /** One sentence: early stop at epoch 12, all epochs done, Ctrl-C, the error. */
  readonly reason: string
}

export const encodeRunRecord = (record: RunRecord): Uint8Array => prettyJsonBytes(record)

/** @throws CxvError FORMAT_INVALID when it is not a run record of this version */
export function decodeRunRecord(bytes: Uint8Array): RunRecord {
  let value: unknown
  try {
    value = parseJsonBytes(bytes)
  } catch (cause) {
    throw invalid('it is not JSON', cause)
  }
  if (!isRecord(value)) throw invalid('it is not an object')
  const { id, commit, sampleList, status, format } = value
  if (format !== 1) throw invalid(`its format is ${String(format)}; this cxv reads 1`)
  if (typeof id !== 'string' || !isRunId(id)) throw invalid('its id is not a run id')
  if (typeof commit !== 'string' || !isCommitId(commit))
    throw invalid('its commit is not a commit id')
  if (typeof sampleList !== 'string' || !isSha256(sampleList))
    throw invalid('its sample list has no id')
  if (
    status !== 'running' &&
    status !== 'finished' &&
    status !== 'failed' &&
    status !== 'interrupted'
  ) {
    throw invalid(`its status is ${String(status)}`)
  }
  const text = (key: string): string => (typeof value[key] === 'string' ? value[key] : '')
  const list = (key: string): readonly unknown[] =>
    Array.isArray(value[key]) ? (value[key] as unknown[]) : []
  const { engine, code, versions } = value
  return {
    format: 1,
    id,
    name: text('name'),
    status,
    startedAt: number(value['startedAt']) ?? 0,
    endedAt: number(value['endedAt']) ?? null,
    commit,
    rev: text('rev'),
    snapshot: value['snapshot'] === true,
    sampleList: sampleList as SampleListId,
    pin: json(value['pin']),
    config: json(value['config']),
    seed: number(value['seed']) ?? 0,
    engine: decodeEngine(engine),
    code: isRecord(code)
      ? {
          commit: field(code, 'commit'),
          dirty: code['dirty'] === true,
          patch: optionalId(code['patch']),
        }
      : null,
    versions: isRecord(versions)
      ? Object.fromEntries(Object.entries(versions).map(([k, v]) => [k, String(v)]))
      : {},
    hardware: json(value['hardware']),
    argv: list('argv').map(String),
    metrics:
      value['metrics'] === null || value['metrics'] === undefined ? null : json(value['metrics']),
    models: list('models').map(decodeModel),
    resumes: list('resumes').flatMap(decodeResume),
    reason: text('reason'),
  }
}

function decodeEngine(value: unknown): RunEngine {
  const threads = isRecord(value) ? number(value['threads']) : undefined
  return {
    name: field(value, 'name'),
    version: field(value, 'version'),
    reason: field(value, 'reason'),
    ...(threads === undefined ? {} : { threads }),
  }
}

function decodeResume(value: unknown): readonly RunResume[] {
  if (!isRecord(value)) return []
  const engine = field(value, 'engine')
  return [
    {
      at: number(value['at']) ?? 0,
      epoch: number(value['epoch']) ?? 0,
      ...(engine === '' ? {} : { engine }),
    },
  ]
}

function decodeModel(value: unknown): RunModel {
  if (!isRecord(value) || typeof value['id'] !== 'string' || !isSha256(value['id'])) {
    throw invalid('a model of it has no content id')
  }
  return {
    name: field(value, 'name'),
    id: contentId(value['id']),
    bytes: number(value['bytes']) ?? 0,
    format: 'safetensors',
  }
}

const number = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) ? value : undefined

const field = (value: unknown, key: string): string =>
  isRecord(value) && typeof value[key] === 'string' ? value[key] : ''

const optionalId = (value: unknown): ContentId | null =>
  typeof value === 'string' && isSha256(value) ? contentId(value) : null

/** A value that came out of JSON.parse is JSON. */
const json = (value: unknown): Json => (value === undefined ? null : (value as Json))

const invalid = (why: string, cause?: unknown): CxvError =>
  new CxvError('FORMAT_INVALID', `the run record cannot be read: ${why}`, { cause })

/** One stored content a run made: `contents.json` of its commit, so that push knows what travels with it. */
export interface RunContent {
  readonly id: ContentId
  readonly name: string
  readonly size: number
}

export const encodeRunContents = (contents: readonly RunContent[]): Uint8Array =>
  prettyJsonBytes(contents)

/** @throws CxvError FORMAT_INVALID */
export function decodeRunContents(bytes: Uint8Array): readonly RunContent[] {
  let value: unknown
  try {
    value = parseJsonBytes(bytes)
  } catch (cause) {
    throw new CxvError('FORMAT_INVALID', 'contents.json of a run is not JSON', { cause })
  }
  if (!Array.isArray(value))
    throw new CxvError('FORMAT_INVALID', 'contents.json of a run is not a list')
  return value.map((entry: unknown) => {
    const id = field(entry, 'id')
    const size = isRecord(entry) ? number(entry['size']) : undefined
    if (!isSha256(id) || size === undefined || size < 0) {
      throw new CxvError(
        'FORMAT_INVALID',
        'contents.json of a run has an entry without an id or size',
      )
    }
    return { id: contentId(id), name: field(entry, 'name'), size }
  })
}
