import { createRandom, CxvError, plural, seedOf } from '../base/index.ts'
import type { SplitConfig } from '../format/types.ts'
import type { SplitName } from './types.ts'

export const SPLITS: readonly SplitName[] = ['train', 'val', 'test']

interface Member {
  readonly group: string
  readonly y: readonly number[]
}

/**
 * Deals whole patients to splits. Patients come in order of size, largest first, equals in an order
 * drawn from the seed; each goes where it brings the shares of images and of every label nearest to
 * the ratios (greedy form of iterative stratification: Sechidis, Tsoumakas, Vlahavas, "On the
 * Stratification of Multi-Label Data", ECML PKDD 2011, applied to groups).
 * @returns the split of each member
 */
export function splitByGroup(
  members: readonly Member[],
  config: SplitConfig,
): readonly SplitName[] {
  const groups = new Map<string, number[]>()
  for (const [i, { group }] of members.entries()) {
    const list = groups.get(group)
    if (list === undefined) groups.set(group, [i])
    else list.push(i)
  }
  const width = (members[0]?.y.length ?? 0) + 2
  const countsOf = (indices: readonly number[]): Float64Array => {
    const counts = new Float64Array(width)
    for (const i of indices) {
      const y = members[i]?.y ?? []
      let any = false
      for (const [k, v] of y.entries()) {
        if (v === 1) {
          counts[k]! += 1
          any = true
        }
      }
      if (!any) counts[width - 2]! += 1
      counts[width - 1]! += 1
    }
    return counts
  }
  const names = [...groups.keys()].sort()
  createRandom(seedOf(config.seed, 'split')).shuffle(names)
  const dealt = names.map((name) => ({ name, indices: groups.get(name) ?? [] }))
  dealt.sort((a, b) => b.indices.length - a.indices.length)
  const totals = countsOf(members.map((_m, i) => i))
  const used = config.stratify ? [...totals.keys()] : [width - 1]
  const filled = SPLITS.map(() => new Float64Array(width))
  const ratios = SPLITS.map((s) => config.ratios[s])
  const out = new Array<SplitName>(members.length)
  for (const { indices } of dealt) {
    const counts = countsOf(indices)
    let best = 0
    let bestCost = Infinity
    for (const [s, ratio] of ratios.entries()) {
      let cost = 0
      for (const k of used) {
        const total = totals[k]!
        if (total === 0) continue
        const before = filled[s]![k]! / total / ratio - 1
        const after = (filled[s]![k]! + counts[k]!) / total / ratio - 1
        cost += (after * after - before * before) * ratio
      }
      if (cost < bestCost) {
        bestCost = cost
        best = s
      }
    }
    for (let k = 0; k < width; k++) filled[best]![k]! += counts[k]!
    for (const i of indices) out[i] = SPLITS[best]!
  }
  return out
}

/** Reads the split from a column's values. @throws CxvError SPLIT_INVALID for values that mean no split */
export function splitByColumn(
  values: readonly (string | null)[],
  config: SplitConfig,
): readonly SplitName[] {
  const meaning = new Map<string, SplitName>()
  for (const split of SPLITS) for (const value of config.values[split]) meaning.set(value, split)
  const strange = new Map<string, number>()
  const out = values.map((value) => {
    const split = meaning.get(value ?? '')
    if (split === undefined) strange.set(value ?? 'empty', (strange.get(value ?? 'empty') ?? 0) + 1)
    return split ?? 'train'
  })
  if (strange.size > 0) {
    const said = [...strange].slice(0, 10).map(([value, n]) => `"${value}" (${n})`)
    throw new CxvError(
      'SPLIT_INVALID',
      `values of "${config.column}" that mean no split: ${said.join(', ')}`,
      {
        hint: 'name them in split.values, or leave the rows out with data.where',
      },
    )
  }
  return out
}

/** @throws CxvError SPLIT_INVALID when a patient is in two splits, or a split is empty */
export function checkSplits(members: readonly (Member & { readonly split: SplitName })[]): void {
  const where = new Map<string, SplitName>()
  const crossing = new Set<string>()
  for (const { group, split } of members) {
    const before = where.get(group)
    if (before === undefined) where.set(group, split)
    else if (before !== split) crossing.add(group)
  }
  if (crossing.size > 0) {
    const names = [...crossing].sort()
    throw new CxvError(
      'SPLIT_INVALID',
      `${plural(names.length, 'patient')} in more than one split: ${names.slice(0, 10).join(', ')}${names.length > 10 ? ', ...' : ''}`,
      {
        hint: 'split.method: group deals whole patients',
        data: { patients: names.slice(0, 1000), count: names.length },
      },
    )
  }
  for (const split of SPLITS) {
    if (members.some((m) => m.split === split)) continue
    throw new CxvError('SPLIT_INVALID', `no image is in the ${split} split`, {
      hint: 'a cohort of more patients, or other split.ratios',
    })
  }
}
