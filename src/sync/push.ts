import {
  type CommitId,
  type ContentId,
  type Context,
  CxvError,
  firstOf,
  isCxvError,
  type PackId,
  plural,
} from '../base/index.ts'
import {
  decodeRemoteRef,
  encodeRemoteFormat,
  encodeRemoteRef,
  pushedNameProblem,
  refKey,
} from '../format/index.ts'
import type { Repository } from '../repo/types.ts'
import { compareCommits, type Contents, contentsOf, reachable } from './commits.ts'
import { readRecipes } from './download.ts'
import { downloadHistory, uploadHistory } from './history-packs.ts'
import { forEachBounded } from './pool.ts'
import { choosePushed, type LocalRef } from './pushed-refs.ts'
import { concurrencyOf, needsWritable } from './remote.ts'
import { indexFragments, loadRemoteIndex, packKey, type RemoteIndex } from './remote-index.ts'
import {
  corrupt,
  FORMAT_KEY,
  newPushId,
  readRemote,
  type RemoteRefRow,
  type RemoteState,
  trusting,
} from './state.ts'
import type { PushedRef, PushOptions, PushResult, Remote } from './types.ts'
import { planUpload, uploadPacks } from './upload.ts'

/**
 * Sends branches, the tags and runs that belong to them, and the bytes they need. In this order, so
 * that a reader never meets a ref whose bytes are absent: data packs, index fragment, history pack,
 * refs one by one by compare-and-swap. Stopped anywhere, it is finished by calling it again.
 * @throws CxvError NOT_FAST_FORWARD, REMOTE_LACKS, REMOTE_READ_ONLY, REMOTE_CORRUPT, NO_COMMITS
 */
export async function push(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  options: PushOptions = {},
): Promise<PushResult> {
  needsWritable(remote)
  const { history } = repo
  const chosen = await choosePushed(ctx, history, options)
  const state = await readRemote(ctx, repo, remote)
  const refs = await compareRefs(ctx, repo, remote, state, chosen)
  const moving = refs.filter((r) => r.status === 'created' || r.status === 'updated')
  const result: PushResult = {
    remote: remote.name,
    url: remote.backend.url,
    dryRun: options.dryRun === true,
    refs,
    commits: 0,
    contents: 0,
    packs: 0,
    bytes: 0,
    packsAlreadyThere: 0,
    packsLost: 0,
  }
  if (moving.length === 0 && options.recheck !== true) return result

  const theirs = await commitsHere(repo, state)
  const have = await reachable(ctx, history, theirs)
  const commits = await reachable(
    ctx,
    history,
    moving.map((r) => r.to),
    new Set(have.keys()),
  )
  const whole = options.recheck === true
  const contents = await contentsOf(ctx, history, whole ? new Map([...have, ...commits]) : commits)
  const { index, lost } = await openIndex(ctx, repo, remote, whole)
  const store = await repo.store()
  const lacking = await lackingContents(repo, remote, index, contents)
  const plan = await planUpload(store, lacking, index)
  // The packs are files now: others may have the index while we send.
  await repo.releaseStore()
  const planned = {
    ...result,
    commits: commits.size,
    contents: lacking.length,
    packsLost: lost.size,
  }
  if (options.dryRun === true) {
    return {
      ...planned,
      packs: plan.length,
      bytes: plan.reduce((sum, { bytes }) => sum + bytes, 0),
    }
  }
  if (state.format === undefined) await initRemote(remote, chosen)
  const upload = await uploadPacks(ctx, repo, remote, plan)
  const historyBytes = await uploadHistory(ctx, repo, remote, commits)
  await moveRefs(ctx, repo, remote, state, moving)
  await trackBranches(repo, remote, refs)
  return {
    ...planned,
    packs: upload.sent,
    bytes: upload.bytes + historyBytes,
    packsAlreadyThere: upload.alreadyThere,
  }
}

/** What each ref would do. @throws CxvError NOT_FAST_FORWARD saying what differs */
async function compareRefs(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  state: RemoteState,
  chosen: readonly LocalRef[],
): Promise<PushedRef[]> {
  const { history } = repo
  const out: PushedRef[] = []
  for (const { name, kind, commit } of chosen) {
    const problem = pushedNameProblem(name)
    if (problem !== undefined) {
      throw new CxvError('REF_INVALID', `${shortName(name)} cannot be pushed: ${problem}`, {
        hint: 'give it a shorter name: `cxv branch -m OLD NEW`, or a tag of another name',
        data: { name },
      })
    }
    const there = state.refs.get(name)?.ref.commit ?? null
    const row = { ref: name, from: there, to: commit }
    if (there === null) out.push({ ...row, status: 'created' })
    else if (there === commit) out.push({ ...row, status: 'up to date' })
    else if (kind !== 'branch') throw otherThere(remote, name, commit, there)
    else {
      if (!(await history.has(there))) await downloadHistory(ctx, repo, remote, [there])
      if (!(await history.has(there)))
        throw corrupt(remote, refKey(name), 'names a commit that is not there')
      if (await history.isAncestor(there, commit)) out.push({ ...row, status: 'updated' })
      else if (await history.isAncestor(commit, there)) out.push({ ...row, status: 'behind' })
      else throw await rejected(ctx, repo, remote, name, commit, there)
    }
  }
  return out
}

const shortName = (ref: string): string => ref.replace(/^refs\/(heads|tags|runs|models)\//, '')

const otherThere = (remote: Remote, ref: string, here: CommitId, there: CommitId): CxvError =>
  new CxvError(
    'REF_EXISTS',
    `${remote.name} has another ${shortName(ref)}: tags and runs never move`,
    {
      hint: 'give yours another name',
      data: { ref, here, there },
    },
  )

async function rejected(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  ref: string,
  mine: CommitId,
  theirs: CommitId,
): Promise<CxvError> {
  const differ = await compareCommits(ctx, repo.history, mine, theirs)
  const branch = shortName(ref)
  return new CxvError(
    'NOT_FAST_FORWARD',
    `${branch} on ${remote.name} has ${plural(differ.behind, 'commit')} that you lack, and you have ` +
      `${plural(differ.ahead, 'commit')} that it lacks. Against yours it has ${plural(differ.added, 'file')} more, ` +
      `${plural(differ.changed, 'file')} changed, ${plural(differ.removed, 'file')} fewer. Nothing was pushed.`,
    {
      hint: `\`cxv fetch\`, then \`cxv diff ${branch} ${remote.name}/${branch}\` shows it; \`cxv switch -c NAME && cxv push\` sends yours as a branch of its own`,
      data: { ref, mine, theirs, ...differ },
    },
  )
}

/** The commits of the remote's refs that are here. */
async function commitsHere(repo: Repository, state: RemoteState): Promise<CommitId[]> {
  const here: CommitId[] = []
  for (const { ref } of state.refs.values()) {
    if (await repo.history.has(ref.commit)) here.push(ref.commit)
  }
  return here
}

/** The remote's index; with `recheck` without the packs that are not there in their full size. */
async function openIndex(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  recheck: boolean,
): Promise<{ index: RemoteIndex; lost: ReadonlySet<PackId> }> {
  const fragments = await loadRemoteIndex(ctx, repo, remote)
  const lost = new Set<PackId>()
  if (recheck) {
    const sizes = new Map<string, number>()
    for await (const { key, size } of remote.backend.list('packs/')) sizes.set(key, size)
    for (const { packs } of fragments) {
      for (const { id, size } of packs) if (sizes.get(packKey(id)) !== size) lost.add(id)
    }
  }
  return { index: indexFragments(fragments, lost), lost }
}

/**
 * Contents whose bytes must be sent: all whose chunk is not on the remote. Of a larger file a recipe
 * alone proves nothing (it may have come with a pack sent for other files): its chunks are looked up.
 */
async function lackingContents(
  repo: Repository,
  remote: Remote,
  index: RemoteIndex,
  contents: Contents,
): Promise<ContentId[]> {
  const open = [...contents.keys()].filter(
    (id) => index.find('chunk', Buffer.from(id, 'hex')) === undefined,
  )
  const absent = await (await repo.store()).missing(open)
  const recipes = [...absent].flatMap((id) => index.find('recipe', Buffer.from(id, 'hex')) ?? [])
  const nowhere = new Set<ContentId>(absent)
  for await (const { located, recipe } of readRecipes(remote, recipes)) {
    if (recipe.parts.every((part) => index.find('chunk', part.id) !== undefined)) {
      nowhere.delete(located.id)
    }
  }
  if (nowhere.size > 0) {
    throw new CxvError(
      'REMOTE_LACKS',
      `the bytes of ${plural(nowhere.size, 'file')} are neither here nor on ${remote.name}: ` +
        firstOf([...nowhere].map((id) => contents.get(id) ?? id)),
      {
        hint: 'fetch them from the remote that has them (`cxv pull REMOTE`), then push again',
        data: {
          remote: remote.name,
          paths: [...nowhere].slice(0, 100).map((id) => contents.get(id) ?? id),
        },
      },
    )
  }
  return open.filter((id) => !absent.has(id))
}

/** Marks an empty place as a remote. @throws CxvError REMOTE_INVALID when something else is there */
async function initRemote({ name, backend }: Remote, chosen: readonly LocalRef[]): Promise<void> {
  for await (const { key } of backend.list('')) {
    // Another first push was faster: each ref will say what it has to.
    if ((await backend.get(FORMAT_KEY)) !== undefined) return
    throw new CxvError(
      'REMOTE_INVALID',
      `${backend.url} is not empty and no cxv remote (it has ${key})`,
      {
        hint: `give a path of its own: \`cxv remote remove ${name}\`, then \`cxv remote add ${name} URL\``,
        data: { key },
      },
    )
  }
  const head = chosen.find(({ kind }) => kind === 'branch')?.name ?? 'refs/heads/main'
  try {
    await backend.put(FORMAT_KEY, encodeRemoteFormat({ format: 1, head }), { ifMatch: null })
  } catch (error) {
    // Another first push was faster, or our answer was lost.
    if (!isCxvError(error, 'PRECONDITION_FAILED')) throw error
  }
}

async function moveRefs(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  state: RemoteState,
  moving: readonly PushedRef[],
): Promise<void> {
  const pushId = newPushId(ctx)
  await forEachBounded(moving, concurrencyOf(remote.backend), async ({ ref, to }) => {
    ctx.signal.throwIfAborted()
    await moveRef(ctx, repo, remote, state.refs.get(ref), ref, to, pushId)
  })
}

async function moveRef(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  before: RemoteRefRow | undefined,
  name: string,
  to: CommitId,
  pushId: string,
): Promise<void> {
  const key = refKey(name)
  const body = encodeRemoteRef({
    commit: to,
    seq: (before?.ref.seq ?? 0) + 1,
    pushId,
    prev: before?.ref.commit ?? null,
  })
  try {
    await remote.backend.put(key, body, { ifMatch: before?.etag ?? null })
  } catch (error) {
    if (!isCxvError(error, 'PRECONDITION_FAILED')) throw error
    const got = await remote.backend.get(key)
    const now = got && trusting(remote, key, () => decodeRemoteRef(got.bytes))
    // Ours: the answer was lost on the way and the request made again. The same commit: no matter whose.
    if (now?.pushId === pushId || now?.commit === to) return
    if (now !== undefined && name.startsWith('refs/heads/')) {
      await downloadHistory(ctx, repo, remote, [now.commit])
      throw await rejected(ctx, repo, remote, name, to, now.commit)
    }
    throw error
  }
}

/** refs/remotes/NAME/* as the remote has them now. */
async function trackBranches(
  repo: Repository,
  remote: Remote,
  refs: readonly PushedRef[],
): Promise<void> {
  for (const { ref, status, to } of refs) {
    if (!ref.startsWith('refs/heads/') || status === 'behind') continue
    const tracking = `refs/remotes/${remote.name}/${shortName(ref)}`
    const from = await repo.history.ref(tracking)
    if (from !== to) await repo.history.casRef(tracking, from, to, `push to ${remote.name}`)
  }
}
