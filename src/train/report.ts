import type { BatchSource, TrainingData } from '../dataset/types.ts'
import { bootstrapAuroc, type Interval } from './bootstrap.ts'
import { isCategorical } from './losses.ts'
import {
  auroc,
  averagePrecision,
  confusion,
  meanOfKnown,
  rank,
  rocCurve,
  youdenThreshold,
  type Confusion,
  type Ranking,
  type RocCurve,
} from './metrics.ts'
import type { TrainSettings } from './types.ts'

/** What the model said of one split, in the order of its samples. */
export interface SplitPredictions {
  /** [n, labels] Sigmoid of each logit, or softmax over the labels. Double: single ties at 1. */
  readonly probabilities: Float64Array
  /** Mean loss as trained, without smoothing; NaN when no label is known. */
  readonly loss: number
}
export interface Predictions {
  readonly val: SplitPredictions
  readonly test: SplitPredictions
}

/** The model that knows only the train split's counts. */
export interface NaiveFigures {
  readonly auroc: 0.5
  /** Always calls the class that is commoner in train. */
  readonly accuracy: number | null
  /** Always says the share of train. */
  readonly logLoss: number | null
}

/** Figures are null where they are not defined: a class is absent, nothing is known. */
export interface LabelFigures {
  readonly label: string
  readonly positives: number
  readonly negatives: number
  readonly unknown: number
  readonly auroc: number | null
  /** 95 %, patients resampled. */
  readonly aurocInterval: Interval | null
  readonly averagePrecision: number | null
  readonly logLoss: number | null
  /** Chosen on validation (Youden), or 0.5 where validation lacks a class. */
  readonly threshold: number
  readonly confusion: Confusion
  readonly accuracy: number | null
  readonly sensitivity: number | null
  readonly specificity: number | null
  readonly naive: NaiveFigures
  readonly roc: RocCurve
}

export interface SplitFigures {
  readonly samples: number
  readonly groups: number
  readonly loss: number | null
  /** Mean over labels with both classes present. */
  readonly aurocMacro: number | null
  readonly aurocMacroInterval: Interval | null
  readonly averagePrecisionMacro: number | null
  /** Share of right answers: the largest probability (multiclass), or mean over labels at their thresholds. */
  readonly accuracy: number | null
  readonly naive: NaiveFigures
  readonly labels: readonly LabelFigures[]
  /** Multiclass: [true][called] counts. */
  readonly confusionMatrix?: readonly (readonly number[])[]
}

export interface Evaluation {
  readonly val: SplitFigures
  readonly test: SplitFigures
  readonly bootstrap: { readonly resamples: number; readonly seed: number }
}

const orNull = (value: number): number | null => (Number.isFinite(value) ? value : null)
const ratio = (part: number, whole: number): number | null => (whole === 0 ? null : part / whole)

/** All figures of a run. Thresholds come from validation alone. Plain JSON. */
export function report(
  settings: Pick<TrainSettings, 'loss' | 'seed' | 'evaluate'>,
  data: TrainingData,
  predictions: Predictions,
): Evaluation {
  const labels = data.labels.length
  const shares = data.labels.map((_, label) => shareOfPositives(data.train.y, label, labels))
  const rankings = (split: 'val' | 'test'): Ranking[] =>
    data.labels.map((_, label) =>
      rank(predictions[split].probabilities, data[split].y, { label, labels }),
    )
  const ofVal = rankings('val')
  const thresholds = ofVal.map((ranking) => youdenThreshold(ranking) ?? 0.5)
  const bootstrap = { resamples: settings.evaluate.bootstrap, seed: settings.seed }
  const context = {
    labels: data.labels,
    categorical: isCategorical(settings),
    shares,
    thresholds,
    bootstrap,
  }
  return {
    val: splitFigures(context, data.val, predictions.val, ofVal),
    test: splitFigures(context, data.test, predictions.test, rankings('test')),
    bootstrap,
  }
}

interface ReportContext {
  readonly labels: readonly string[]
  readonly categorical: boolean
  /** Share of positives of each label in train. */
  readonly shares: readonly number[]
  readonly thresholds: readonly number[]
  readonly bootstrap: { readonly resamples: number; readonly seed: number }
}

function splitFigures(
  context: ReportContext,
  source: BatchSource,
  { probabilities, loss }: SplitPredictions,
  rankings: readonly Ranking[],
): SplitFigures {
  const intervals = bootstrapAuroc(rankings, source.groups, context.bootstrap)
  const labels = context.labels.map((label, i) => ({
    label,
    ...labelFigures(rankings[i]!, {
      samples: source.groups.length,
      threshold: context.thresholds[i]!,
      share: context.shares[i]!,
    }),
    aurocInterval: intervals.labels[i] ?? null,
  }))
  const called = context.categorical ? callLargest(probabilities, source.y, context) : undefined
  const aurocs = rankings.map((ranking) => auroc(ranking))
  return {
    samples: source.groups.length,
    groups: new Set(source.groups).size,
    loss: orNull(loss),
    aurocMacro: orNull(meanOfKnown(aurocs)),
    aurocMacroInterval: intervals.macro ?? null,
    averagePrecisionMacro: orNull(
      meanOfKnown(rankings.filter((_, i) => !Number.isNaN(aurocs[i]!)).map(averagePrecision)),
    ),
    accuracy: called === undefined ? meanOrNull(labels.map((l) => l.accuracy)) : called.accuracy,
    naive: called === undefined ? meanNaive(labels) : called.naive,
    labels,
    ...(called === undefined ? {} : { confusionMatrix: called.matrix }),
  }
}

function labelFigures(
  ranking: Ranking,
  { samples, threshold, share }: { samples: number; threshold: number; share: number },
): Omit<LabelFigures, 'label' | 'aurocInterval'> {
  const { positives, negatives } = ranking
  const known = positives + negatives
  const counts = confusion(ranking, threshold)
  let logLoss = 0
  ranking.scores.forEach((p, i) => (logLoss += surprise(ranking.truth[i] === 1 ? p : 1 - p)))
  const naiveLoss =
    (positives === 0 ? 0 : positives * surprise(share)) +
    (negatives === 0 ? 0 : negatives * surprise(1 - share))
  return {
    positives,
    negatives,
    unknown: samples - known,
    auroc: orNull(auroc(ranking)),
    averagePrecision: orNull(averagePrecision(ranking)),
    logLoss: ratio(logLoss, known),
    threshold,
    confusion: counts,
    accuracy: ratio(counts.tp + counts.tn, known),
    sensitivity: ratio(counts.tp, positives),
    specificity: ratio(counts.tn, negatives),
    naive: {
      auroc: 0.5,
      accuracy: ratio(share >= 0.5 ? positives : negatives, known),
      logLoss: ratio(naiveLoss, known),
    },
    roc: rocCurve(ranking),
  }
}

/** -log(p), with no surprise beyond that of one in ten million. */
const surprise = (p: number): number => -Math.log(Math.max(p, 1e-7))

function shareOfPositives(y: Float32Array, label: number, labels: number): number {
  let known = 0
  let positives = 0
  for (let i = label; i < y.length; i += labels) {
    if (Number.isNaN(y[i]!)) continue
    known++
    positives += y[i]!
  }
  return known === 0 ? 0.5 : positives / known
}

const meanOrNull = (values: readonly (number | null)[]): number | null =>
  orNull(meanOfKnown(values.map((value) => value ?? NaN)))

const meanNaive = (labels: readonly LabelFigures[]): NaiveFigures => ({
  auroc: 0.5,
  accuracy: meanOrNull(labels.map(({ naive }) => naive.accuracy)),
  logLoss: meanOrNull(labels.map(({ naive }) => naive.logLoss)),
})

/** Multiclass: the class of the largest probability is called. */
function callLargest(
  probabilities: Float64Array,
  y: Float32Array,
  { labels: { length: labels }, shares }: ReportContext,
): { accuracy: number | null; naive: NaiveFigures; matrix: number[][] } {
  const matrix = Array.from({ length: labels }, () => new Array<number>(labels).fill(0))
  const commonest = shares.indexOf(Math.max(...shares))
  let known = 0
  let right = 0
  let naiveRight = 0
  let naiveLoss = 0
  for (let row = 0; row < y.length; row += labels) {
    const truth = y.subarray(row, row + labels).indexOf(1)
    if (truth < 0) continue
    const scores = probabilities.subarray(row, row + labels)
    const called = scores.indexOf(Math.max(...scores))
    matrix[truth]![called]!++
    known++
    if (called === truth) right++
    if (commonest === truth) naiveRight++
    naiveLoss += surprise(shares[truth]!)
  }
  return {
    accuracy: ratio(right, known),
    naive: {
      auroc: 0.5,
      accuracy: ratio(naiveRight, known),
      logLoss: ratio(naiveLoss, known),
    },
    matrix,
  }
}
