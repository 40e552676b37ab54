import type { TrainingData } from '../dataset/types.ts'
import type { Cursor } from './checkpoint.ts'
import { auroc, meanOfKnown, rank } from './metrics.ts'
import { learningRate } from './optimizer.ts'
import type { SplitPredictions } from './report.ts'
import type { TrainSettings } from './types.ts'

/** Whether the early stop has waited long enough. */
export const isExhausted = ({ earlyStop }: TrainSettings, cursor: Cursor): boolean =>
  earlyStop.monitor !== 'none' && cursor.waited >= Math.max(1, earlyStop.patience)

/** Figures of an epoch that is done. Those not defined (a class is absent) are left out. */
export function epochMetrics(
  { settings, data }: { readonly settings: TrainSettings; readonly data: TrainingData },
  cursor: Cursor,
  val: SplitPredictions,
): Readonly<Record<string, number>> {
  const labels = data.labels.length
  const aurocs = data.labels.map((_, label) =>
    auroc(rank(val.probabilities, data.val.y, { label, labels })),
  )
  const all = {
    lr: learningRate(settings, cursor.step - 1, data.train.steps),
    'train/loss': cursor.lossSum / cursor.lossKnown,
    'val/loss': val.loss,
    'val/auroc_macro': meanOfKnown(aurocs),
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => Number.isFinite(value)))
}

/** Whether this epoch is better than the best by more than `minDelta`. `none`: the last is the best. */
export function isBetter(
  { earlyStop: { monitor, minDelta } }: TrainSettings,
  metrics: Readonly<Record<string, number>>,
  { best }: Cursor,
): boolean {
  if (monitor === 'none') return true
  const value = metrics[monitor]
  if (value === undefined) return false
  if (best === null) return true
  return monitor === 'val/loss' ? value < best.value - minDelta : value > best.value + minDelta
}
