import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createRandom, isCxvError } from '../base/index.ts'
import type { SplitConfig } from '../format/types.ts'
import { checkSplits, splitByColumn, splitByGroup, SPLITS } from './split.ts'
import type { SplitName } from './types.ts'

interface Member {
  readonly group: string
  readonly y: readonly number[]
}

const CONFIG: SplitConfig = {
  method: 'group',
  ratios: { train: 0.7, val: 0.1, test: 0.2 },
  stratify: true,
  seed: 7,
  column: '',
  values: { train: ['train'], val: ['val'], test: ['test'] },
}

const label = fc.constantFrom(0, 1, Number.NaN)
const members = fc.array(
  fc.record({
    group: fc.integer({ min: 0, max: 30 }).map((n) => `p${n}`),
    y: fc.tuple(label, label),
  }),
  { minLength: 1, maxLength: 120 },
)
const config = fc
  .record({
    val: fc.integer({ min: 1, max: 45 }),
    test: fc.integer({ min: 1, max: 45 }),
    stratify: fc.boolean(),
    seed: fc.nat(),
  })
  .map(({ val, test: held, stratify, seed }): SplitConfig => {
    const ratios = { train: (100 - val - held) / 100, val: val / 100, test: held / 100 }
    return { ...CONFIG, ratios, stratify, seed }
  })

const sharesOf = (splits: readonly SplitName[]): number[] =>
  SPLITS.map((s) => splits.filter((of) => of === s).length / splits.length)

/** `n` patients of one to four images each; two of ten have the first finding, one of ten the second. */
function cohort(n: number, seed = 1): Member[] {
  const random = createRandom(seed)
  return Array.from({ length: n }, (_, p) => {
    const y = [random.next() < 0.2 ? 1 : 0, random.next() < 0.1 ? 1 : 0]
    return Array.from({ length: 1 + random.int(4) }, () => ({ group: `patient ${p}`, y }))
  }).flat()
}

test('no patient is in two splits, and no split is empty without an error, for any grouping', () => {
  fc.assert(
    fc.property(members, config, (rows, how) => {
      const splits = splitByGroup(rows, how)
      assert.equal(splits.length, rows.length)
      const seen = new Map<string, SplitName>()
      for (const [i, { group }] of rows.entries()) {
        assert.equal(splits[i], seen.get(group) ?? splits[i], group)
        seen.set(group, splits[i]!)
      }
      const empty = SPLITS.filter((s) => !splits.includes(s))
      const check = (): void => checkSplits(rows.map((r, i) => ({ ...r, split: splits[i]! })))
      if (empty.length === 0) check()
      else {
        assert.throws(check, (error) => {
          assert.ok(isCxvError(error, 'SPLIT_INVALID'))
          assert.match(error.message, new RegExp(`no image is in the ${empty[0]} split`))
          return true
        })
      }
    }),
    { numRuns: 300 },
  )
})

test('shares miss the ratios by no more than twice the largest patient, where labels do not count', () => {
  // A split is filled over its ratio by less than the patient that did it, so the others together
  // take at most two such patients from the third.
  fc.assert(
    fc.property(members, config, (rows, how) => {
      const sizes = new Map<string, number>()
      for (const { group } of rows) sizes.set(group, (sizes.get(group) ?? 0) + 1)
      const largest = Math.max(...sizes.values()) / rows.length
      const shares = sharesOf(splitByGroup(rows, { ...how, stratify: false }))
      for (const [s, share] of shares.entries()) {
        const ratio = how.ratios[SPLITS[s]!]
        assert.ok(Math.abs(share - ratio) <= 2 * largest + 1e-9, `${SPLITS[s]} ${share}, ${ratio}`)
      }
    }),
    { numRuns: 300 },
  )
})

test('on a real cohort, stratified, shares and label frequencies are near', () => {
  for (const seed of [1, 2, 3]) {
    const rows = cohort(300, seed)
    const splits = splitByGroup(rows, { ...CONFIG, seed })
    for (const [s, share] of sharesOf(splits).entries()) {
      assert.ok(Math.abs(share - CONFIG.ratios[SPLITS[s]!]) < 0.01, `${SPLITS[s]} ${share}`)
    }
    for (const k of [0, 1]) {
      const whole = rows.filter((r) => r.y[k] === 1).length / rows.length
      for (const split of SPLITS) {
        const of = rows.filter((_r, i) => splits[i] === split)
        const share = of.filter((r) => r.y[k] === 1).length / of.length
        assert.ok(Math.abs(share - whole) < 0.02, `label ${k}: ${split} ${share}, all ${whole}`)
      }
    }
  }
})

test('a rare label reaches every split when stratified', () => {
  // 10 of 200 patients: without a look at labels, validation goes without in about every third deal.
  const rows = Array.from({ length: 200 }, (_, p) => ({ group: `p${p}`, y: [p < 10 ? 1 : 0] }))
  const counts = (how: SplitConfig): number[] => {
    const splits = splitByGroup(rows, how)
    return SPLITS.map((s) => rows.filter((r, i) => splits[i] === s && r.y[0] === 1).length)
  }
  let uneven = 0
  for (let seed = 0; seed < 20; seed++) {
    assert.deepEqual(counts({ ...CONFIG, seed }), [7, 1, 2])
    const plain = counts({ ...CONFIG, seed, stratify: false })
    if (plain.join() !== '7,1,2') uneven++
  }
  assert.ok(uneven > 5, `only ${uneven} of 20 are uneven without stratify`)
})

test('the same seed deals the same, another seed another way; the order of rows does not matter', () => {
  const rows = cohort(60)
  const bySeed = (seed: number, of: readonly Member[]): ReadonlyMap<string, SplitName> =>
    new Map(splitByGroup(of, { ...CONFIG, seed }).map((split, i) => [of[i]!.group, split]))
  const first = bySeed(7, rows)
  assert.deepEqual(bySeed(7, rows), first)
  assert.notDeepEqual(bySeed(8, rows), first)
  for (let k = 0; k < 5; k++) {
    const shuffled = createRandom(k).shuffle([...rows])
    const again = bySeed(7, shuffled)
    for (const [group, split] of first) assert.equal(again.get(group), split, group)
  }
})

test('a patient of half of all images goes to train, not to the test split', () => {
  const rows = [...Array<string>(50).fill('big'), ...Array.from({ length: 50 }, (_, i) => `p${i}`)]
  const splits = splitByGroup(
    rows.map((group) => ({ group, y: [0] })),
    CONFIG,
  )
  assert.equal(splits[0], 'train')
  assert.deepEqual(sharesOf(splits), [0.7, 0.1, 0.2])
})

test('a column says the split; values that mean none are named with their counts', () => {
  const how: SplitConfig = {
    ...CONFIG,
    method: 'column',
    column: 'fold',
    values: { train: ['a', 'b'], val: ['c'], test: ['d'] },
  }
  assert.deepEqual(splitByColumn(['a', 'd', 'b', 'c'], how), ['train', 'test', 'train', 'val'])
  assert.throws(
    () => splitByColumn(['a', 'e', 'E', 'e', null, 'c'], how),
    (error) => {
      assert.ok(isCxvError(error, 'SPLIT_INVALID'))
      assert.equal(
        error.message,
        'values of "fold" that mean no split: "e" (2), "E" (1), "empty" (1)',
      )
      assert.match(error.hint ?? '', /split\.values/)
      return true
    },
  )
})

test('a column that puts a patient into two splits is refused, with the patients', () => {
  const rows = [
    { group: 'ann', split: 'train', y: [1] },
    { group: 'bob', split: 'val', y: [0] },
    { group: 'ann', split: 'test', y: [1] },
    { group: 'cyd', split: 'test', y: [0] },
  ] as const
  assert.throws(
    () => checkSplits(rows),
    (error) => {
      assert.ok(isCxvError(error, 'SPLIT_INVALID'))
      assert.equal(error.message, '1 patient in more than one split: ann')
      assert.deepEqual(error.data, { patients: ['ann'], count: 1 })
      return true
    },
  )
  const apart = rows.filter((_r, i) => i !== 2)
  checkSplits(apart)
})
