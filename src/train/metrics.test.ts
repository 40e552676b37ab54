import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { bootstrapAuroc } from './bootstrap.ts'
import {
  auroc,
  averagePrecision,
  confusion,
  rank,
  rocCurve,
  youdenThreshold,
  type Ranking,
} from './metrics.ts'

const rankOf = (scores: number[], truth: number[]): Ranking =>
  rank(Float64Array.from(scores), Float32Array.from(truth), { label: 0, labels: 1 })

/** The definition: over all pairs of a positive and a negative. */
function pairwise(scores: number[], truth: number[]): number {
  let sum = 0
  let pairs = 0
  scores.forEach((a, i) =>
    scores.forEach((b, j) => {
      if (truth[i] !== 1 || truth[j] !== 0) return
      pairs++
      sum += a > b ? 1 : a === b ? 0.5 : 0
    }),
  )
  return pairs === 0 ? NaN : sum / pairs
}

const cases = fc.array(fc.tuple(fc.integer({ min: 0, max: 6 }), fc.constantFrom(0, 1, NaN)), {
  minLength: 1,
  maxLength: 40,
})

test('auroc is the share of pairs in order, ties half, unknown labels left out', () => {
  fc.assert(
    fc.property(cases, (rows) => {
      const scores = rows.map(([s]) => s)
      const truth = rows.map(([, t]) => t)
      const value = auroc(rankOf(scores, truth))
      const expected = pairwise(scores, truth)
      assert.ok(Number.isNaN(expected) ? Number.isNaN(value) : Math.abs(value - expected) < 1e-12)
    }),
    { seed: 7 },
  )
})

test('auroc with weights is auroc of the repeated samples', () => {
  fc.assert(
    fc.property(
      cases,
      fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 40, maxLength: 40 }),
      (rows, weights) => {
        const repeated = rows.flatMap((row, i) =>
          new Array<(typeof rows)[0]>(weights[i]!).fill(row),
        )
        const expected = pairwise(
          repeated.map(([s]) => s),
          repeated.map(([, t]) => t),
        )
        const ranking = rankOf(
          rows.map(([s]) => s),
          rows.map(([, t]) => t),
        )
        const value = auroc(ranking, (sample) => weights[sample]!)
        assert.ok(Number.isNaN(expected) ? Number.isNaN(value) : Math.abs(value - expected) < 1e-12)
      },
    ),
    { seed: 7 },
  )
})

test('the area under the thinned ROC curve is the auroc', () => {
  fc.assert(
    fc.property(cases, (rows) => {
      const ranking = rankOf(
        rows.map(([s]) => s),
        rows.map(([, t]) => t),
      )
      const { fpr, tpr, threshold } = rocCurve(ranking)
      if (Number.isNaN(auroc(ranking))) return assert.equal(fpr.length, 0)
      let area = 0
      for (let i = 1; i < fpr.length; i++) {
        area += ((fpr[i]! - fpr[i - 1]!) * (tpr[i]! + tpr[i - 1]!)) / 2
      }
      assert.ok(Math.abs(area - auroc(ranking)) < 1e-12)
      assert.equal(threshold[0], null)
      assert.deepEqual([fpr.at(-1), tpr.at(-1)], [1, 1])
    }),
    { seed: 7 },
  )
})

test('average precision, threshold and confusion of a small case worked by hand', () => {
  const ranking = rankOf([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 1, 0])
  assert.ok(Math.abs(averagePrecision(ranking) - (1 / 3 + 1 / 3 + (1 / 3) * (3 / 4))) < 1e-12)
  assert.equal(youdenThreshold(ranking), 0.8)
  assert.deepEqual(confusion(ranking, 0.8), { tp: 2, fp: 0, tn: 2, fn: 1 })
  assert.equal(youdenThreshold(rankOf([0.1, 0.2], [1, 1])), undefined)
  assert.ok(Number.isNaN(averagePrecision(rankOf([0.1], [0]))))
})

test('the bootstrap resamples patients, not images', () => {
  const scores = Array.from({ length: 60 }, (_, i) => ((i * 37) % 60) / 60 + (i % 2 ? 0.25 : 0))
  const truth = scores.map((_, i) => i % 2)
  const ranking = rankOf(scores, truth)
  const options = { resamples: 500, seed: 3 }
  const singles = bootstrapAuroc(
    [ranking],
    scores.map((_, i) => `p${i}`),
    options,
  )
  const [low, high] = singles.macro!
  const value = auroc(ranking)
  assert.ok(low < value && value < high && low > 0.4 && high <= 1)
  assert.deepEqual(singles.labels[0], singles.macro)
  assert.deepEqual(
    bootstrapAuroc(
      [ranking],
      scores.map((_, i) => `p${i}`),
      options,
    ),
    singles,
  )
  // Every image four times under the same patient adds nothing: the interval must not shrink.
  const four = [0, 1, 2, 3].flatMap(() => scores)
  const copies = bootstrapAuroc(
    [
      rankOf(
        four,
        [0, 1, 2, 3].flatMap(() => truth),
      ),
    ],
    four.map((_, i) => `p${i % 60}`),
    options,
  )
  assert.deepEqual(copies.macro, singles.macro)
  assert.equal(bootstrapAuroc([rankOf([1, 2], [1, 1])], ['a', 'b'], options).macro, undefined)
})
