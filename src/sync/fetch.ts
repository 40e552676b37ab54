import { type CommitId, type Context, CxvError, isCxvError, nearest } from '../base/index.ts'
import { refKey } from '../format/index.ts'
import type { Repository } from '../repo/types.ts'
import { contentsOf, isDataset, reachable } from './commits.ts'
import { type Download, fetchFrames, locateContents, type LocatedContents } from './download.ts'
import { downloadAllHistory, downloadHistory } from './history-packs.ts'
import { corrupt, kindOfRef, readRemote, type RemoteRefRow, type RemoteState } from './state.ts'
import type { FetchedRef, FetchOptions, FetchResult, Remote } from './types.ts'

/**
 * Brings a remote's branches (as refs/remotes/NAME/...), tags and runs: history, then bytes, then the
 * refs here, so that nothing here ever names what did not arrive. Stopped anywhere, it is finished by
 * calling it again.
 * @throws CxvError REMOTE_EMPTY, REMOTE_CORRUPT, REMOTE_LACKS, REV_UNKNOWN
 */
export async function fetchRemote(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  options: FetchOptions,
): Promise<FetchResult> {
  const state = await readRemote(ctx, repo, remote)
  return fetchState(ctx, repo, remote, state, options)
}

/** fetchRemote, for a caller that has asked the remote already. */
export async function fetchState(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  state: RemoteState,
  options: FetchOptions,
): Promise<FetchResult> {
  const rows = chooseRefs(remote, state, options)
  const { history } = repo
  if (history.incomplete()) await fillHoles(ctx, repo, remote)
  const before = await localCommits(ctx, repo)
  const wanted = [...new Set(rows.map(({ ref }) => ref.commit))]
  await downloadHistory(ctx, repo, remote, wanted)
  for (const { name, ref } of rows) await checkArrived(repo, remote, name, ref.commit)
  const fresh = await reachable(ctx, history, wanted, before)
  await options.beforeData?.()
  const { partial } = await repo.config()
  let got: Download | undefined
  if (options.data) {
    // A repository that lacks bytes on purpose, or is not believed, asks for all; else for what is new.
    const all = partial === true || options.recheck === true
    const commits = all ? await reachable(ctx, history, wanted) : fresh
    const located = await locateData(ctx, repo, remote, commits)
    const ahead = await options.checkout?.()
    got = await fetchFrames(ctx, repo, remote, located, ahead)
  } else if (fresh.size > 0 && partial !== true) {
    await repo.updateConfig((config) => ({ ...config, partial: true }))
  }
  const refs = await moveLocalRefs(ctx, repo, remote, rows)
  return {
    remote: remote.name,
    url: remote.backend.url,
    refs,
    commits: fresh.size,
    runs: refs.filter(({ ref, status }) => ref.startsWith('refs/runs/') && status === 'created')
      .length,
    contents: got?.contents ?? 0,
    packs: got?.packs ?? 0,
    bytes: got?.bytes ?? 0,
  }
}

/** What a repair of the history had to leave out, if the remote has it. */
async function fillHoles(ctx: Context, repo: Repository, remote: Remote): Promise<void> {
  await downloadAllHistory(ctx, repo, remote)
  const left = await repo.history.check()
  if (left.length === 0) repo.history.setIncomplete(false)
  for (const { ref, problem } of left.slice(0, 5)) {
    ctx.emit({
      type: 'warn',
      code: 'FORMAT_INVALID',
      message: `${ref}: ${problem}; ${remote.name} does not have it either`,
    })
  }
}

export const emptyRemote = (remote: Remote): CxvError =>
  new CxvError(
    'REMOTE_EMPTY',
    `there is no cxv remote at ${remote.backend.url}, or nothing was pushed yet`,
    {
      hint: 'check the path; on the machine that has the data: `cxv push`',
      data: { remote: remote.name, url: remote.backend.url },
    },
  )

function chooseRefs(remote: Remote, state: RemoteState, options: FetchOptions): RemoteRefRow[] {
  if (state.format === undefined) throw emptyRemote(remote)
  const all = [...state.refs.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  const branches = options.branches
  if (branches === undefined || branches.length === 0) return all
  const known = all.filter(({ name }) => kindOfRef(name) === 'branch')
  for (const branch of branches) {
    if (known.some(({ name }) => name === `refs/heads/${branch}`)) continue
    const near = nearest(
      branch,
      known.map(({ name }) => name.slice('refs/heads/'.length)),
    )
    throw new CxvError('REV_UNKNOWN', `the remote ${remote.name} has no branch "${branch}"`, {
      hint:
        near === undefined
          ? `\`cxv fetch ${remote.name}\` brings those it has`
          : `did you mean ${near}?`,
      data: { remote: remote.name, branch },
    })
  }
  return all.filter(
    ({ name }) =>
      kindOfRef(name) !== 'branch' || branches.includes(name.slice('refs/heads/'.length)),
  )
}

async function localCommits(ctx: Context, repo: Repository): Promise<ReadonlySet<CommitId>> {
  const refs = await repo.history.refs('refs/')
  return new Set(
    (
      await reachable(
        ctx,
        repo.history,
        refs.map(({ id }) => id),
      )
    ).keys(),
  )
}

/** A ref of the remote must name what its packs brought, and a branch a dataset. */
async function checkArrived(
  repo: Repository,
  remote: Remote,
  name: string,
  commit: CommitId,
): Promise<void> {
  if (!(await repo.history.has(commit))) {
    throw corrupt(remote, refKey(name), `names commit ${commit.slice(0, 10)}, which is not there`)
  }
  try {
    const dataset = await isDataset(repo.history, commit)
    if (kindOfRef(name) === 'branch' && !dataset) {
      throw corrupt(remote, refKey(name), 'is a branch and names no dataset')
    }
  } catch (error) {
    if (!isCxvError(error, 'FORMAT_INVALID')) throw error
    throw corrupt(remote, refKey(name), `names a damaged commit (${error.message})`, error)
  }
}

/** Where the bytes lie that these commits need and that are not here. */
async function locateData(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  commits: ReadonlyMap<CommitId, readonly CommitId[]>,
): Promise<LocatedContents> {
  const contents = await contentsOf(ctx, repo.history, commits).catch((error: unknown) => {
    if (!isCxvError(error, 'FORMAT_INVALID')) throw error
    throw corrupt(remote, 'its history', `is damaged (${error.message})`, error)
  })
  return locateContents(ctx, repo, remote, contents)
}

async function moveLocalRefs(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  rows: readonly RemoteRefRow[],
): Promise<FetchedRef[]> {
  const moved: FetchedRef[] = []
  for (const { name, ref } of rows) {
    const branch = kindOfRef(name) === 'branch'
    const local = branch ? `refs/remotes/${remote.name}/${name.slice('refs/heads/'.length)}` : name
    const from = await repo.history.ref(local)
    const row = { ref: local, from, to: ref.commit }
    if (from === ref.commit) continue
    if (from !== null && !branch) {
      ctx.emit({
        type: 'warn',
        code: 'REF_EXISTS',
        message: `${name} is another one on ${remote.name}; yours was kept`,
      })
      moved.push({ ...row, status: 'kept' })
      continue
    }
    await repo.history.casRef(local, from, ref.commit, `fetch from ${remote.name}`)
    moved.push({ ...row, status: from === null ? 'created' : 'updated' })
  }
  return moved
}
