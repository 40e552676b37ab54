import { type CommitId, type Context, CxvError, isCxvError, nearest } from '../base/index.ts'
import { decodeRunRecord } from '../format/index.ts'
import type { History } from '../history/types.ts'
import { reachable } from './commits.ts'
import { kindOfRef, type RefKind } from './state.ts'
import type { PushOptions } from './types.ts'

export interface LocalRef {
  readonly name: string
  readonly kind: RefKind
  readonly commit: CommitId
}

/**
 * The branches asked for (none: the current one), with the tags, runs and models of their commits.
 * @throws CxvError NO_COMMITS, DETACHED_HEAD, REV_UNKNOWN
 */
export async function choosePushed(
  ctx: Context,
  history: History,
  options: PushOptions,
): Promise<LocalRef[]> {
  const branches = await chooseBranches(history, options)
  const reach = await reachable(
    ctx,
    history,
    branches.map(({ commit }) => commit),
  )
  const chosen = [...branches]
  for (const prefix of ['refs/tags/', 'refs/runs/', 'refs/models/']) {
    for (const { name, id } of await history.refs(prefix)) {
      const kind = kindOfRef(name)
      if (kind === undefined || kind === 'branch') continue
      const belongs =
        (options.tags === true && kind === 'tag') || (await standsOn(history, id, reach))
      if (belongs) chosen.push({ name, kind, commit: id })
    }
  }
  return chosen
}

/**
 * Whether the commit is one of these, or a run's record on one of these or on a snapshot of one: that
 * is a commit which no branch holds and which travels with its run.
 */
async function standsOn(
  history: History,
  id: CommitId,
  reach: ReadonlyMap<CommitId, unknown>,
): Promise<boolean> {
  if (reach.has(id)) return true
  const { id: peeled, parents } = await history.facts(id)
  if (reach.has(peeled) || parents.some((parent) => reach.has(parent))) return true
  if (!(await isRunOnSnapshot(history, peeled))) return false
  for (const snapshot of parents) {
    const { parents: from } = await history.facts(snapshot)
    if (from.some((parent) => reach.has(parent))) return true
  }
  return false
}

/** A record that this cxv cannot read is none: it must not keep the others from being pushed. */
async function isRunOnSnapshot(history: History, id: CommitId): Promise<boolean> {
  const record = await history.readFile(id, 'run.json')
  if (record === undefined) return false
  try {
    return decodeRunRecord(record).snapshot
  } catch (error) {
    if (!isCxvError(error, 'FORMAT_INVALID')) throw error
    return false
  }
}

async function chooseBranches(history: History, options: PushOptions): Promise<LocalRef[]> {
  const all = await history.refs('refs/heads/')
  const of = (name: string, commit: CommitId): LocalRef => ({ name, kind: 'branch', commit })
  if (all.length === 0) {
    throw new CxvError('NO_COMMITS', 'there is nothing to push: no commit yet', {
      hint: 'cxv add PATH... && cxv commit -m MESSAGE',
    })
  }
  if (options.all === true) return all.map(({ name, id }) => of(name, id))
  if (options.branches !== undefined && options.branches.length > 0) {
    return options.branches.map((branch) => {
      const found = all.find(({ name }) => name === `refs/heads/${branch}`)
      if (found !== undefined) return of(found.name, found.id)
      const near = nearest(
        branch,
        all.map(({ name }) => name.slice('refs/heads/'.length)),
      )
      throw new CxvError('REV_UNKNOWN', `there is no branch "${branch}"`, {
        hint: near === undefined ? '`cxv branch` lists them' : `did you mean ${near}?`,
        data: { branch },
      })
    })
  }
  const head = await history.head()
  if (head.branch === null) {
    throw new CxvError('DETACHED_HEAD', 'no branch is checked out: say which to push', {
      hint: 'cxv push REMOTE BRANCH',
    })
  }
  if (head.commit === null) {
    throw new CxvError('NO_COMMITS', 'the current branch has no commit yet', {
      hint: 'cxv add PATH... && cxv commit -m MESSAGE',
    })
  }
  return [of(head.branch, head.commit)]
}
