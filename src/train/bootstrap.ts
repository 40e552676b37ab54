import { createRandom, seedOf } from '../base/index.ts'
import { auroc, meanOfKnown, type Ranking } from './metrics.ts'

export type Interval = readonly [low: number, high: number]

export interface AurocIntervals {
  /** One a label; undefined where too few resamples held both classes. */
  readonly labels: readonly (Interval | undefined)[]
  readonly macro: Interval | undefined
}

/** Percentiles of fewer resamples than this say nothing. */
const MIN_RESAMPLES = 40

/**
 * 95 % intervals of AUROC by resampling whole patients with replacement (Efron 1979; groups because
 * images of one patient are not independent), percentiles 2.5 and 97.5. A resample that lacks a class
 * of a label says nothing of that label.
 * @param groups [n] the patient of each sample
 */
export function bootstrapAuroc(
  rankings: readonly Ranking[],
  groups: readonly string[],
  { resamples, seed }: { readonly resamples: number; readonly seed: number },
): AurocIntervals {
  const ids = new Map<string, number>()
  const groupOf = Uint32Array.from(groups, (name) => {
    const id = ids.get(name) ?? ids.size
    ids.set(name, id)
    return id
  })
  const random = createRandom(seedOf(seed, 'bootstrap'))
  const drawn = new Uint32Array(ids.size)
  const weight = (sample: number): number => drawn[groupOf[sample]!]!
  const perLabel: number[][] = rankings.map(() => [])
  const macro: number[] = []
  for (let i = 0; i < resamples; i++) {
    drawn.fill(0)
    for (let k = 0; k < ids.size; k++) drawn[random.int(ids.size)]!++
    const values = rankings.map((ranking) => auroc(ranking, weight))
    values.forEach((value, label) => {
      if (!Number.isNaN(value)) perLabel[label]!.push(value)
    })
    const mean = meanOfKnown(values)
    if (!Number.isNaN(mean)) macro.push(mean)
  }
  return { labels: perLabel.map(interval), macro: interval(macro) }
}

function interval(values: number[]): Interval | undefined {
  if (values.length < MIN_RESAMPLES) return undefined
  values.sort((a, b) => a - b)
  return [percentile(values, 0.025), percentile(values, 0.975)]
}

/** Linear between the two nearest. @param sorted ascending, not empty */
function percentile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1)
  const low = Math.floor(at)
  const high = Math.min(low + 1, sorted.length - 1)
  return sorted[low]! + (sorted[high]! - sorted[low]!) * (at - low)
}
