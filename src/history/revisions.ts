import { type CommitId, CxvError, isCommitId, nearest } from '../base/index.ts'
import type { Commits } from './commits.ts'
import type { Objects } from './objects.ts'
import { refNameProblem, shortRefName } from './ref-names.ts'
import type { Refs } from './refs.ts'

/** As many as a message can name. */
const MAX_CANDIDATES = 20
const SHORTEST_ID = 4
/** `HEAD~1000000` of a cycle-free history ends at its first commit; the digits are bounded all the same. */
const STEP = /^(?:\^\{(?:commit)?\}|~(\d{0,9})|\^(\d{0,2}))/
const REFLOG_ENTRY = /^(.*)@\{(\d{1,9})\}$/

/** gitrevisions(7), the part that people use: names, ids, `@{n}`, `~n` and `^n` in any chain. */
export async function resolveRevision(
  revision: string,
  { refs, commits, objects }: { refs: Refs; commits: Commits; objects: Objects },
): Promise<CommitId> {
  const cut = /[~^]/.exec(revision)?.index ?? revision.length
  let at = await resolveBase(revision.slice(0, cut))
  for (let rest = revision.slice(cut); rest !== '';) {
    const step = STEP.exec(rest)
    if (step === null) throw unknown(revision, `\`${rest}\` is not a step such as ~2 or ^2`)
    rest = rest.slice(step[0].length)
    if (step[1] !== undefined) at = await back(at, step[1] === '' ? 1 : Number(step[1]))
    else if (step[2] !== undefined) at = await parent(at, step[2] === '' ? 1 : Number(step[2]))
  }
  return at

  async function back(from: CommitId, steps: number): Promise<CommitId> {
    let id = from
    for (let i = 0; i < steps; i++) id = await parent(id, 1)
    return id
  }

  async function parent(of: CommitId, n: number): Promise<CommitId> {
    if (n === 0) return of
    const { parents } = await commits.commit(of)
    const found = parents[n - 1]
    if (found !== undefined) return found
    const has = parents.length === 0 ? 'is the first commit' : `has ${parents.length} parent(s)`
    throw unknown(
      revision,
      `${of.slice(0, 10)} ${has}`,
      '`cxv log` shows how far the history goes back',
    )
  }

  async function resolveBase(base: string): Promise<CommitId> {
    const entry = REFLOG_ENTRY.exec(base)
    if (entry !== null) return reflogEntry(entry[1] ?? '', Number(entry[2]))
    if (base === 'HEAD' || base === '@') return headCommit()
    if (isCommitId(base)) {
      if (objects.has(base)) return commits.peel(base)
      throw unknown(revision, 'no such commit is here', '`cxv fetch` brings what a remote has')
    }
    const named = await fullName(base)
    if (named !== undefined) return commits.peel(named.id)
    return shortId(base)
  }

  async function headCommit(): Promise<CommitId> {
    const { commit } = await refs.head()
    if (commit !== null) return commits.peel(commit)
    throw new CxvError('NO_COMMITS', 'there are no commits yet', {
      hint: 'add files with `cxv add`, then `cxv commit -m "..."`',
    })
  }

  async function fullName(
    name: string,
  ): Promise<{ readonly full: string; readonly id: CommitId } | undefined> {
    const prefixes = ['', 'refs/', 'refs/tags/', 'refs/heads/', 'refs/remotes/', 'refs/runs/']
    for (const prefix of prefixes) {
      const full = prefix + name
      const id = refNameProblem(full) === undefined ? await refs.ref(full) : null
      if (id !== null) return { full, id }
    }
    return undefined
  }

  async function reflogEntry(name: string, n: number): Promise<CommitId> {
    const full =
      name === '' || name === '@' || name === 'HEAD' ? 'HEAD' : (await fullName(name))?.full
    const found = full === undefined ? undefined : (await refs.reflog(full))[n]
    if (found === undefined) throw unknown(revision, 'the reflog has no such entry', '`cxv reflog`')
    return commits.peel(found.to)
  }

  async function shortId(base: string): Promise<CommitId> {
    const runs = await refs.refs('refs/runs/')
    if (base.length >= SHORTEST_ID) {
      const near = runs.filter((row) => row.name.startsWith(`refs/runs/${base}`))
      if (near[0] !== undefined && near.length === 1) return commits.peel(near[0].id)
      if (near.length > 1)
        throw ambiguous(
          base,
          near.map((row) => shortRefName(row.name)),
        )
    }
    if (/^[0-9a-f]{4,39}$/.test(base)) {
      const found = await commitsWithPrefix(base)
      if (found[0] !== undefined && found.length === 1) return found[0]
      if (found.length > 1) throw ambiguous(base, found)
    }
    const names = (await refs.refs('refs/')).map((row) => shortRefName(row.name))
    const near = nearest(base, ['HEAD', ...names])
    throw unknown(
      revision,
      'there is no branch, tag, run or commit of that name',
      near === undefined
        ? '`cxv log` and `cxv branch` list what there is'
        : `did you mean ${near}?`,
    )
  }

  async function commitsWithPrefix(prefix: string): Promise<readonly CommitId[]> {
    const found = new Set<CommitId>()
    // An id of 4 digits can fit thousands of shards, of which none counts.
    for (const oid of objects.withPrefix(prefix, 10_000)) {
      const { type } = await objects.read(oid)
      if (type === 'commit') found.add(oid as CommitId)
      if (type === 'tag') found.add(await commits.peel(oid))
    }
    return [...found]
  }
}

const unknown = (revision: string, why: string, hint?: string): CxvError =>
  new CxvError('REV_UNKNOWN', `unknown revision ${revision}: ${why}`, {
    data: { revision },
    ...(hint === undefined ? {} : { hint }),
  })

function ambiguous(base: string, candidates: readonly string[]): CxvError {
  const some = candidates.slice(0, MAX_CANDIDATES)
  return new CxvError('REV_AMBIGUOUS', `${base} could be ${some.join(', ')}`, {
    hint: 'give more digits',
    data: { revision: base, candidates: some },
  })
}
