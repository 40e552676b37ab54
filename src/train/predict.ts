import type { BatchSource } from '../dataset/types.ts'
import { CxvError, type Context } from '../base/index.ts'
import { isCategorical, lossOf } from './losses.ts'
import type { SplitPredictions } from './report.ts'
import type { CompiledStep, TrainSettings } from './types.ts'

interface PredictOptions {
  readonly ctx: Context
  readonly settings: Pick<TrainSettings, 'loss'>
  readonly posWeight: readonly number[]
  /** Told after each batch how many samples it has seen of how many. */
  readonly onSeen?: (seen: number, samples: number) => void
}

/** Runs a split through the model. @param compiled a predict step */
export async function predictSplit(
  { ctx, settings, posWeight, onSeen }: PredictOptions,
  compiled: CompiledStep,
  source: BatchSource,
): Promise<SplitPredictions> {
  const labels = posWeight.length
  const n = source.groups.length
  const logits = new Float32Array(n * labels).fill(NaN)
  let seen = 0
  for await (const batch of source.epoch(0, { signal: ctx.signal })) {
    if (ctx.signal.aborted) throw interrupted()
    const x = { shape: [batch.size, ...source.xShape], data: batch.x }
    const out = (await compiled.run({ x }))['logits']!.data
    for (let row = 0; row < batch.size; row++) {
      logits.set(out.subarray(row * labels, (row + 1) * labels), batch.indices[row]! * labels)
    }
    seen += batch.size
    onSeen?.(seen, n)
    await turn()
  }
  if (seen !== n) throw new Error(`the ${source.split} split gave ${seen} samples of ${n}`)
  return {
    probabilities: isCategorical(settings)
      ? softmax(logits, labels)
      : Float64Array.from(logits, sigmoid),
    loss: lossOf(settings, posWeight, logits, source.y),
  }
}

export const interrupted = (): CxvError =>
  new CxvError('INTERRUPTED', 'training was interrupted', {
    hint: 'cxv run --resume goes on from the last checkpoint',
  })

/** Lets signals and timers in between steps, which compute without a pause. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const sigmoid = (l: number): number => 1 / (1 + Math.exp(-l))

function softmax(logits: Float32Array, labels: number): Float64Array {
  const out = new Float64Array(logits.length)
  for (let row = 0; row < logits.length; row += labels) {
    const scores = logits.subarray(row, row + labels)
    const top = Math.max(...scores)
    const powers = Array.from(scores, (l) => Math.exp(l - top))
    const sum = powers.reduce((a, b) => a + b, 0)
    out.set(
      powers.map((p) => p / sum),
      row,
    )
  }
  return out
}
