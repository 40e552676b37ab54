import { join } from 'node:path'
import { type CommitId, type Context, CxvError, plural } from '../base/index.ts'
import { removePath } from '../io/index.ts'
import { checkoutCommit } from '../repo/index.ts'
import type { CheckoutPlan, Repository } from '../repo/types.ts'
import { compareCommits } from './commits.ts'
import { emptyRemote, fetchState } from './fetch.ts'
import { downloadHistory } from './history-packs.ts'
import { readRemote, type RemoteState } from './state.ts'
import type { PullOptions, PullResult, Remote } from './types.ts'

/** In `.cxv` while a clone is not finished. */
export const CLONE_MARKER = 'clone.json'

const HEADS = 'refs/heads/'
/** Committing on this branch would make it diverge: pull would then stop for good. */
const KEEP_OR_DROP =
  'to keep them: `cxv switch -c NAME`, `cxv add` and `cxv commit` there, then `cxv switch` back; ' +
  'to drop them: `cxv restore --staged . && cxv restore -f PATHS`, and move untracked files away; then `cxv pull`'
const NOTHING: CheckoutPlan = { write: [], remove: [], bytes: 0 }

/**
 * Fetches, then moves the current branch forward and the work tree with it. Never over local changes,
 * never over commits that the remote lacks. In a repository cloned without data it also brings the
 * bytes and puts the files in place.
 * @throws CxvError NOT_FAST_FORWARD, LOCAL_CHANGES, DETACHED_HEAD, and what fetch throws
 */
export async function pull(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  options: PullOptions,
): Promise<PullResult> {
  const { history } = repo
  const head = await history.head()
  if (head.branch === null) {
    throw new CxvError('DETACHED_HEAD', 'no branch is checked out, so none can be moved forward', {
      hint: '`cxv switch BRANCH` first; `cxv fetch` only brings what is new',
    })
  }
  const state = await readRemote(ctx, repo, remote)
  const mine = head.branch.slice(HEADS.length)
  const theirs = options.branch ?? mine
  const to = theirCommit(remote, state, theirs)
  const fetch = await fetchState(ctx, repo, remote, state, {
    data: options.data,
    ...(options.recheck === undefined ? {} : { recheck: options.recheck }),
    beforeData: () =>
      refuseDiverged(ctx, repo, remote, head.commit, to, startAgain(remote, mine, theirs)),
  })
  const { branch } = head
  // Decided anew under the lock: another process may have committed while this one fetched.
  return repo.withWriteLock('pull', async () => {
    const now = await history.head()
    if (now.branch !== branch) {
      throw new CxvError('REF_MOVED', `another process left ${mine} while this one fetched`, {
        hint: 'run the same command again',
      })
    }
    if (now.commit !== head.commit) {
      await refuseDiverged(ctx, repo, remote, now.commit, to, startAgain(remote, mine, theirs))
    }
    const partial = (await repo.config()).partial === true
    const complete = partial && options.data
    const done = { fetch, branch, from: now.commit, to }
    const isAhead = now.commit !== null && (await history.isAncestor(to, now.commit))
    // Ahead of the remote, or level with it: the work tree is the user's, unless it was never filled.
    const target = isAhead && now.commit !== null ? now.commit : to
    const move = target !== now.commit
    const plan =
      move || complete
        ? await checkoutCommit(ctx, repo, target, {
            branch,
            complete,
            data: options.data || !partial,
            hint: KEEP_OR_DROP,
            reason: `pull from ${remote.name}`,
          })
        : NOTHING
    if (complete) {
      await repo.updateConfig(withoutPartial)
      removePath(join(repo.folder, CLONE_MARKER))
    }
    const status =
      now.commit === null
        ? 'created'
        : move
          ? 'fast forward'
          : now.commit === to
            ? 'up to date'
            : 'ahead'
    return {
      ...done,
      to: target,
      status,
      written: plan.write.length,
      removed: plan.remove.length,
      writtenBytes: plan.bytes,
    }
  })
}

/** All bytes are here now: a tracked file that is not on disk was deleted by the user. */
export function withoutPartial<T extends { readonly partial?: boolean }>(config: T): T {
  const { partial: _partial, ...rest } = config
  return rest as T
}

function theirCommit(remote: Remote, state: RemoteState, branch: string): CommitId {
  if (state.format === undefined) throw emptyRemote(remote)
  const found = state.refs.get(HEADS + branch)
  if (found !== undefined) return found.ref.commit
  const branches = [...state.refs.keys()].flatMap((name) =>
    name.startsWith(HEADS) ? name.slice(HEADS.length) : [],
  )
  throw new CxvError('REV_UNKNOWN', `the remote ${remote.name} has no branch "${branch}"`, {
    hint:
      branches.length === 0
        ? 'nothing was pushed there yet'
        : `it has ${branches.slice(0, 5).join(', ')}: \`cxv pull ${remote.name} BRANCH\``,
    data: { remote: remote.name, branch, branches: branches.slice(0, 100) },
  })
}

/** The whole way: a branch that is only left stays diverged, and no later pull moves it. */
const startAgain = (remote: Remote, mine: string, theirs: string): string =>
  `keep yours under another name, and begin ${mine} anew at theirs: \`cxv switch -c NAME && cxv fetch ${remote.name} && ` +
  `cxv branch -d ${mine} && cxv branch ${mine} ${remote.name}/${theirs} && cxv switch ${mine}\``

async function refuseDiverged(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  mine: CommitId | null,
  theirs: CommitId,
  hint: string,
): Promise<void> {
  const { history } = repo
  if (mine === null || mine === theirs) return
  if (!(await history.has(theirs))) await downloadHistory(ctx, repo, remote, [theirs])
  if (await history.isAncestor(mine, theirs)) return
  if (await history.isAncestor(theirs, mine)) return
  const differ = await compareCommits(ctx, history, mine, theirs)
  throw new CxvError(
    'NOT_FAST_FORWARD',
    `you and ${remote.name} both went on: ${plural(differ.ahead, 'commit')} here, ${plural(differ.behind, 'commit')} there. ` +
      `Against yours it has ${plural(differ.added, 'file')} more, ${plural(differ.changed, 'file')} changed, ` +
      `${plural(differ.removed, 'file')} fewer. Nothing was changed here.`,
    {
      hint,
      data: { mine, theirs, ...differ },
    },
  )
}
