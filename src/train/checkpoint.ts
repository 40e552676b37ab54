import { createHash } from 'node:crypto'
import { canonicalJson, CxvError, isRecord, parseJson } from '../base/index.ts'
import type { HistoryRow, HostTensors } from './types.ts'
import { decodeWeights, encodeWeights } from './weights.ts'

/** Where training stands. All that a step, an epoch's end or the early stop reads, besides tensors. */
export interface Cursor {
  /** Counted from 0: the epoch under way. */
  readonly epoch: number
  /** Batches of it that are done. */
  readonly batch: number
  /** Steps done since the start. */
  readonly step: number
  /** Sum over the epoch's batches so far of loss times known labels, and of known labels. */
  readonly lossSum: number
  readonly lossKnown: number
  readonly best: { readonly epoch: number; readonly value: number } | null
  /** Epochs since the best one. */
  readonly waited: number
  readonly history: readonly HistoryRow[]
}

export interface Checkpoint {
  readonly engine: string
  /** What must be the same for the resumed run to be the same run. */
  readonly config: Readonly<Record<string, unknown>>
  readonly cursor: Cursor
  /** The model's arrays, running moments included, and the optimizer's. */
  readonly state: HostTensors
  /** The model's arrays at the best epoch. */
  readonly best: HostTensors | undefined
}

const VERSION = '1'
const BEST = 'best/'
const STATE = 'state/'

const prefixed = (tensors: HostTensors, prefix: string): HostTensors =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [prefix + name, tensor]))

const withPrefix = (tensors: HostTensors, prefix: string): HostTensors =>
  Object.fromEntries(
    Object.entries(tensors)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
  )

/** SHA-256 of the tensors and of every word beside them, so that a torn or edited file is noticed. */
function digest(tensors: HostTensors, text: string): string {
  const hash = createHash('sha256').update(text)
  for (const name of Object.keys(tensors).sort()) {
    const { data } = tensors[name]!
    hash.update(name).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  }
  return hash.digest('hex')
}

/** @see docs/format.md#checkpoints-and-model-weights */
export function encodeCheckpoint({ engine, config, cursor, state, best }: Checkpoint): Uint8Array {
  const tensors = { ...prefixed(state, STATE), ...prefixed(best ?? {}, BEST) }
  const text = canonicalJson({ engine, config, cursor })
  return encodeWeights(tensors, {
    'cxv.checkpoint': VERSION,
    'cxv.cursor': text,
    'cxv.sha256': digest(tensors, text),
  })
}

/** @throws {CHECKPOINT_INVALID} the bytes are damaged or of another kind */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  const invalid = (what: string, cause?: unknown): CxvError =>
    new CxvError('CHECKPOINT_INVALID', `the checkpoint cannot be used: ${what}`, {
      hint: 'start the run again with `cxv run`; `checkpoint.keep_last` keeps more of them',
      ...(cause === undefined ? {} : { cause }),
    })
  let decoded: ReturnType<typeof decodeWeights>
  try {
    decoded = decodeWeights(bytes)
  } catch (error) {
    throw invalid('it is damaged', error)
  }
  const { tensors, metadata } = decoded
  if (metadata['cxv.checkpoint'] !== VERSION) throw invalid('it is of another version')
  const text = metadata['cxv.cursor'] ?? ''
  if (metadata['cxv.sha256'] !== digest(tensors, text)) throw invalid('its checksum is wrong')
  const parsed = parseJson(text)
  if (!isRecord(parsed) || typeof parsed['engine'] !== 'string' || !isRecord(parsed['config'])) {
    throw invalid('its cursor is incomplete')
  }
  if (!isCursor(parsed['cursor'])) throw invalid('its cursor is incomplete')
  const best = withPrefix(tensors, BEST)
  return {
    engine: parsed['engine'],
    config: parsed['config'],
    cursor: parsed['cursor'],
    state: withPrefix(tensors, STATE),
    best: Object.keys(best).length === 0 ? undefined : best,
  }
}

function isCursor(value: unknown): value is Cursor {
  if (!isRecord(value)) return false
  const counts = ['epoch', 'batch', 'step', 'waited', 'lossKnown']
  const { best, history, lossSum } = value
  return (
    counts.every((name) => Number.isSafeInteger(value[name]) && (value[name] as number) >= 0) &&
    typeof lossSum === 'number' &&
    Array.isArray(history) &&
    history.every((row) => isRecord(row) && isRecord(row['metrics'])) &&
    (best === null || (isRecord(best) && typeof best['value'] === 'number'))
  )
}

/**
 * Refuses to go on with other settings, data or engine than the run began with: the result would be
 * neither run.
 * @throws {RUN_MISMATCH} naming what differs
 */
export function assertSameRun(
  checkpoint: Checkpoint,
  config: Readonly<Record<string, unknown>>,
  engine: string,
): void {
  const names = new Set([...Object.keys(config), ...Object.keys(checkpoint.config)])
  const differing = [...names].filter(
    (name) =>
      canonicalJson(config[name] ?? null) !== canonicalJson(checkpoint.config[name] ?? null),
  )
  if (differing.length > 0) {
    throw new CxvError('RUN_MISMATCH', `the run began with another ${differing.join(', ')}`, {
      hint: 'start a new run with cxv run',
      data: { differing },
    })
  }
  if (checkpoint.engine !== engine) {
    const message = `the run began on the ${checkpoint.engine} engine; ${engine} would not continue it bit for bit`
    throw new CxvError('RUN_MISMATCH', message, {
      hint: `--engine ${checkpoint.engine}`,
      data: { differing: ['engine'] },
    })
  }
}
