/** Scores and truth of one label, unknown samples left out, sorted by score. */
export interface Ranking {
  /** Ascending. */
  readonly scores: Float64Array
  /** [n] 1 positive, 0 negative, in the order of `scores`. */
  readonly truth: Uint8Array
  /** [n] Which sample each is. */
  readonly samples: Uint32Array
  readonly positives: number
  readonly negatives: number
}

/**
 * Sorts once; every figure below is then one pass.
 * @param scores [n, labels] @param y [n, labels] with NaN where unknown
 */
export function rank(
  scores: Float64Array,
  y: Float32Array,
  { label, labels }: { readonly label: number; readonly labels: number },
): Ranking {
  const known: number[] = []
  for (let i = label; i < y.length; i += labels) if (!Number.isNaN(y[i]!)) known.push(i)
  known.sort((a, b) => scores[a]! - scores[b]! || a - b)
  const truth = Uint8Array.from(known, (i) => (y[i]! >= 0.5 ? 1 : 0))
  const positives = truth.reduce((sum, t) => sum + t, 0)
  return {
    scores: Float64Array.from(known, (i) => scores[i]!),
    truth,
    samples: Uint32Array.from(known, (i) => (i - label) / labels),
    positives,
    negatives: truth.length - positives,
  }
}

/**
 * Area under the ROC curve: the chance that a positive scores above a negative, ties counting half
 * (Hanley and McNeil 1982). NaN when a class is absent.
 * @param weight how often each sample counts; absent: once
 */
export function auroc(ranking: Ranking, weight?: (sample: number) => number): number {
  const { scores, truth, samples } = ranking
  let pairs = 0
  let positives = 0
  let negatives = 0
  for (let i = 0; i < scores.length;) {
    const score = scores[i]!
    let tiedPositives = 0
    let tiedNegatives = 0
    for (; i < scores.length && scores[i] === score; i++) {
      const w = weight === undefined ? 1 : weight(samples[i]!)
      if (truth[i] === 1) tiedPositives += w
      else tiedNegatives += w
    }
    pairs += tiedPositives * (negatives + tiedNegatives / 2)
    positives += tiedPositives
    negatives += tiedNegatives
  }
  return positives === 0 || negatives === 0 ? NaN : pairs / (positives * negatives)
}

/** Counts of true and false positives when everything scoring at least `threshold` is called positive. */
interface CurvePoint {
  readonly threshold: number
  readonly tp: number
  readonly fp: number
}

/** One point for each distinct score, from the highest down. */
function* points({ scores, truth }: Ranking): Generator<CurvePoint> {
  let tp = 0
  let fp = 0
  for (let i = scores.length - 1; i >= 0;) {
    const threshold = scores[i]!
    for (; i >= 0 && scores[i] === threshold; i--) {
      if (truth[i] === 1) tp++
      else fp++
    }
    yield { threshold, tp, fp }
  }
}

/** A ROC curve as parallel columns, from (0, 0) to (1, 1). Empty when a class is absent. */
export interface RocCurve {
  readonly fpr: readonly number[]
  readonly tpr: readonly number[]
  /** At and above it a sample is called positive; the first is `null`: nothing is. */
  readonly threshold: readonly (number | null)[]
}

/** Points on a straight line between their neighbours are left out: the curve and its area stay the same. */
export function rocCurve(ranking: Ranking): RocCurve {
  const { positives, negatives } = ranking
  if (positives === 0 || negatives === 0) return { fpr: [], tpr: [], threshold: [] }
  const kept: { threshold: number | null; tp: number; fp: number }[] = []
  const add = (point: { threshold: number | null; tp: number; fp: number }): void => {
    const [a, b] = kept.slice(-2)
    const straight =
      a !== undefined &&
      b !== undefined &&
      (b.tp - a.tp) * (point.fp - b.fp) === (point.tp - b.tp) * (b.fp - a.fp)
    if (straight) kept.pop()
    kept.push(point)
  }
  add({ threshold: null, tp: 0, fp: 0 })
  for (const point of points(ranking)) add(point)
  return {
    fpr: kept.map(({ fp }) => fp / negatives),
    tpr: kept.map(({ tp }) => tp / positives),
    threshold: kept.map(({ threshold }) => threshold),
  }
}

/** Average precision: precision summed over steps of recall, without interpolation. NaN without positives. */
export function averagePrecision(ranking: Ranking): number {
  if (ranking.positives === 0) return NaN
  let sum = 0
  let before = 0
  for (const { tp, fp } of points(ranking)) {
    sum += ((tp - before) / ranking.positives) * (tp / (tp + fp))
    before = tp
  }
  return sum
}

/**
 * The score with the largest sensitivity + specificity - 1 (Youden 1950), the highest such score.
 * Undefined when a class is absent.
 */
export function youdenThreshold(ranking: Ranking): number | undefined {
  const { positives, negatives } = ranking
  if (positives === 0 || negatives === 0) return undefined
  let best: number | undefined
  let bestIndex = 0
  for (const { threshold, tp, fp } of points(ranking)) {
    const index = tp / positives - fp / negatives
    if (index > bestIndex) {
      bestIndex = index
      best = threshold
    }
  }
  return best
}

export interface Confusion {
  readonly tp: number
  readonly fp: number
  readonly tn: number
  readonly fn: number
}

/** Scores of at least `threshold` are called positive. */
export function confusion(ranking: Ranking, threshold: number): Confusion {
  let tp = 0
  let fp = 0
  for (let i = 0; i < ranking.scores.length; i++) {
    if (ranking.scores[i]! < threshold) continue
    if (ranking.truth[i] === 1) tp++
    else fp++
  }
  return { tp, fp, tn: ranking.negatives - fp, fn: ranking.positives - tp }
}

/** Mean of those that are numbers; NaN when none is. */
export function meanOfKnown(values: readonly number[]): number {
  const known = values.filter((value) => !Number.isNaN(value))
  return known.length === 0 ? NaN : known.reduce((a, b) => a + b, 0) / known.length
}
