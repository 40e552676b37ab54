import {
  type CommitId,
  type Context,
  CxvError,
  firstOf,
  isCxvError,
  nearest,
  plural,
} from '../base/index.ts'
import { refKey } from '../format/index.ts'
import type { Repository } from '../repo/types.ts'
import { contentsOf, isDataset, reachable } from './commits.ts'
import {
  type Download,
  fetchFrames,
  locateContents,
  type LocatedContents,
  NOTHING,
} from './download.ts'
import { downloadAllHistory, downloadHistory } from './history-packs.ts'
import { corrupt, kindOfRef, readRemote, type RemoteRefRow, type RemoteState } from './state.ts'
import type { FetchedRef, FetchOptions, FetchResult, Remote } from './types.ts'

/**
 * Brings a remote's branches (as refs/remotes/NAME/...), tags and runs: history, then bytes, then the
 * refs here, so that nothing here ever names what did not arrive. Bytes of HEAD that were lost here come
 * again. Stopped anywhere, it is finished by calling it again.
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
  const fresh = await reachable(ctx, history, wanted, new Set(before.keys()))
  await options.beforeData?.()
  const { partial } = await repo.config()
  const got: Download[] = []
  if (options.data) {
    // A repository that lacks bytes on purpose, or is not believed, asks for all; else for what is new.
    const all = partial === true || options.recheck === true
    const commits = all ? await reachable(ctx, history, wanted) : fresh
    const located = await locateData(ctx, repo, remote, commits)
    const ahead = await options.checkout?.()
    got.push(await fetchFrames(ctx, repo, remote, located, { ahead, link: options.link }))
    got.push(await fetchLost(ctx, repo, remote, before))
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
    contents: got.reduce((sum, { contents }) => sum + contents, 0),
    packs: got.reduce((sum, { packs }) => sum + packs, 0),
    packsLinked: got.reduce((sum, { packsLinked }) => sum + packsLinked, 0),
    bytes: got.reduce((sum, { bytes }) => sum + bytes, 0),
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

/**
 * Brings again what HEAD needs and this repository lost. Only HEAD is looked at each time; where it lacks
 * something, other versions may too, and all are. What the remote lacks as well is told, and no failure.
 */
async function fetchLost(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  commits: ReadonlyMap<CommitId, readonly CommitId[]>,
): Promise<Download> {
  const store = await repo.store()
  const { commit } = await repo.history.head()
  const rows = await repo.history.manifest(commit, { asWritten: true })
  const lost = await store.missing([...new Set(rows.map(({ id }) => id))])
  if (lost.size === 0) return NOTHING
  const contents = await contentsOf(ctx, repo.history, commits)
  for (const { id, path } of rows) contents.set(id, path)
  const located = await locateContents(ctx, repo, remote, contents, (paths) =>
    ctx.emit({
      type: 'warn',
      code: 'REMOTE_LACKS',
      message: `${plural(paths.length, 'file')} lost here are not on ${remote.name} either: ${firstOf(paths)}`,
      hint: 'add them again, or `cxv pull` from a remote that has them',
    }),
  )
  return fetchFrames(ctx, repo, remote, located)
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

async function localCommits(
  ctx: Context,
  repo: Repository,
): Promise<ReadonlyMap<CommitId, readonly CommitId[]>> {
  const refs = await repo.history.refs('refs/')
  return reachable(
    ctx,
    repo.history,
    refs.map(({ id }) => id),
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
