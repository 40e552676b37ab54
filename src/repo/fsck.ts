import { join } from 'node:path'
import {
  type CommitId,
  type ContentId,
  type Context,
  counting,
  isCxvError,
  startTask,
} from '../base/index.ts'
import { decodeRunContents } from '../format/index.ts'
import type { DamagedFile, History, MovedFile } from '../history/types.ts'
import type { VerifyReport } from '../store/types.ts'
import { readStage } from './stage.ts'
import type { Repository } from './types.ts'

export interface FsckReport {
  readonly clean: boolean
  /** Every byte was read; otherwise a flipped one inside a file is not seen. */
  readonly deep: boolean
  /** It was asked to move damage aside. */
  readonly repaired: boolean
  readonly commits: number
  readonly contents: number
  readonly store: VerifyReport
  /** Lost contents by where they are used: at most 1,000. */
  readonly lostFiles: readonly {
    readonly path: string
    readonly commit: CommitId | 'stage'
    readonly id: ContentId
    readonly reason: string
  }[]
  readonly lostCount: number
  /** Contents that were never fetched into a partial clone. */
  readonly notHere: number
  readonly history: Awaited<ReturnType<History['check']>>
  /** Files of `.cxv/git` that are not as they were written; with `to` when they were moved aside. */
  readonly historyFiles: readonly (DamagedFile & Partial<MovedFile>)[]
}

type Uses = Map<ContentId, { readonly path: string; readonly commit: CommitId | 'stage' }>

/** A commit that something besides the refs stands on: an unsealed run of this machine. */
export interface PinnedCommit {
  readonly name: string
  readonly commit: CommitId
}

/**
 * Checks history, packs and index, and that every content named by any ref, pinned commit or the
 * stage can be read.
 * @param options.deep reads and hashes every byte
 * @param options.repair re-packs good frames of damaged packs and moves the bad aside
 */
export async function checkRepository(
  ctx: Context,
  repo: Repository,
  options: {
    readonly deep: boolean
    readonly repair: boolean
    readonly pinned?: readonly PinnedCommit[]
  },
): Promise<FsckReport> {
  return repo.withWriteLock('fsck', async () => {
    const uses: Uses = new Map()
    const historyFiles = options.repair
      ? await repo.history.repairFiles(join(repo.folder, 'bad'))
      : await repo.history.damagedFiles()
    const { commits, history } = await walkHistory(ctx, repo, options.pinned ?? [], uses)
    if (options.repair)
      repo.history.setIncomplete(history.some(({ commit }) => commit === undefined))
    const store = await repo.store()
    for (const change of (await readStage(store.cache)).values()) {
      if (change.change === 'put') uses.set(change.row.id, { path: change.path, commit: 'stage' })
    }
    const task = startTask(ctx, 'checking', 'bytes', (await store.stats()).bytes)
    let report: VerifyReport
    try {
      report = await store.verify(uses.keys(), {
        deep: options.deep,
        repair: options.repair,
        onBytes: (_frames, bytes) => task.advance(bytes),
      })
    } finally {
      task.end()
    }
    const { partial } = await repo.config()
    const lost = report.lost.filter((l) => !(partial === true && l.reason === 'missing'))
    return {
      clean:
        lost.length === 0 &&
        history.length === 0 &&
        historyFiles.length === 0 &&
        report.damaged.length === 0,
      deep: options.deep,
      repaired: options.repair,
      commits,
      contents: uses.size,
      store: report,
      lostFiles: lost.slice(0, 1000).flatMap(({ id, reason }) => {
        const use = uses.get(id)
        return use === undefined ? [] : [{ ...use, id, reason }]
      }),
      lostCount: lost.length,
      notHere: report.lost.length - lost.length,
      history,
      historyFiles,
    }
  })
}

/**
 * Enters what every commit names that refs, HEAD and pinned commits reach (a run's commit reaches the
 * data it trained on), by the first commit met: breadth first from HEAD and the branches, so near the
 * newest. What cannot be read ends its branch of the walk, not the walk.
 */
async function walkHistory(
  ctx: Context,
  repo: Repository,
  pinned: readonly PinnedCommit[],
  uses: Uses,
): Promise<Pick<FsckReport, 'commits' | 'history'>> {
  const { history } = repo
  const problems = [...(await history.check(ctx))]
  const head = await history.head()
  const next = [
    ...(head.commit === null ? [] : [{ name: 'HEAD', commit: head.commit }]),
    ...(await history.refs('refs/')).map(({ name, id }) => ({ name, commit: id })),
    ...pinned,
  ]
  const seen = new Set<CommitId>()
  let commits = 0
  const fresh = function* (): Generator<(typeof next)[number]> {
    for (const at of next) {
      if (seen.has(at.commit)) continue
      seen.add(at.commit)
      yield at
    }
  }
  for await (const { name, commit } of counting(ctx, 'files of all commits', 'commits', fresh())) {
    ctx.signal.throwIfAborted()
    try {
      const { id, parents } = await history.facts(commit)
      next.push(...(id === commit ? parents : [id]).map((at) => ({ name, commit: at })))
      if (id !== commit) continue
      const dataset = await isDataset(history, id)
      if (dataset) commits++
      const named = dataset
        ? await history.manifest(id, { asWritten: true })
        : await recordContents(history, id, name)
      for (const { path, id: content } of named) {
        if (!uses.has(content)) uses.set(content, { path, commit: id })
      }
    } catch (error) {
      if (!isCxvError(error)) throw error
      const { message: problem } = error
      if (!problems.some((p) => p.problem === problem)) problems.push({ ref: name, problem })
    }
  }
  return { commits, history: problems }
}

/** Else the commit is a run's record. */
async function isDataset(history: History, id: CommitId): Promise<boolean> {
  try {
    await history.read(id)
    return true
  } catch (error) {
    if (isCxvError(error, 'REV_UNKNOWN')) return false
    throw error
  }
}

/** What a run keeps in the store, by paths to show: `<run>/model-best.safetensors`. */
async function recordContents(
  history: History,
  commit: CommitId,
  ref: string,
): Promise<readonly { readonly path: string; readonly id: ContentId }[]> {
  const bytes = await history.readFile(commit, 'contents.json')
  const run = ref.slice(ref.lastIndexOf('/') + 1)
  return bytes === undefined
    ? []
    : decodeRunContents(bytes).map(({ id, name }) => ({ id, path: `${run}/${name}` }))
}
