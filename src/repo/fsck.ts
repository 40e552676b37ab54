import { type CommitId, type ContentId, type Context, startTask } from '../base/index.ts'
import { decodeRunContents } from '../format/index.ts'
import type { VerifyReport } from '../store/types.ts'
import { readStage } from './stage.ts'
import type { Repository } from './types.ts'

export interface FsckReport {
  readonly clean: boolean
  /** Every byte was read; otherwise a flipped one inside a file is not seen. */
  readonly deep: boolean
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
  readonly history: readonly { readonly ref: string; readonly problem: string }[]
}

/**
 * Checks history, packs and index, and that every content named by any ref or the stage can be read.
 * @param options.deep reads and hashes every byte
 * @param options.repair re-packs good frames of damaged packs and moves the bad aside
 */
export async function checkRepository(
  ctx: Context,
  repo: Repository,
  options: { readonly deep: boolean; readonly repair: boolean },
): Promise<FsckReport> {
  return repo.withWriteLock('fsck', async () => {
    const history = await repo.history.check()
    const uses = new Map<ContentId, { path: string; commit: CommitId | 'stage' }>()
    const tips = (await repo.history.refs('refs/')).filter(
      (r) => !r.name.startsWith('refs/runs/') && !history.some((h) => h.ref === r.name),
    )
    let commits = 0
    const head = await repo.history.head()
    const from = [
      ...new Set([...tips.map((t) => t.id), ...(head.commit === null ? [] : [head.commit])]),
    ]
    for await (const commit of repo.history.log(from)) {
      ctx.signal.throwIfAborted()
      commits++
      for (const row of await repo.history.manifest(commit.id)) {
        if (!uses.has(row.id)) uses.set(row.id, { path: row.path, commit: commit.id })
      }
    }
    for (const { name, id } of await repo.history.refs('refs/runs/')) {
      const bytes = await repo.history.readFile(id, 'contents.json')
      if (bytes === undefined) continue
      for (const content of decodeRunContents(bytes)) {
        const path = `${name.slice('refs/runs/'.length)}/${content.name}`
        if (!uses.has(content.id)) uses.set(content.id, { path, commit: id })
      }
    }
    const store = await repo.store()
    for (const change of (await readStage(store.cache)).values()) {
      if (change.change === 'put') uses.set(change.row.id, { path: change.path, commit: 'stage' })
    }
    const task = startTask(ctx, 'checking', 'bytes', (await store.stats()).bytes)
    let report: VerifyReport
    try {
      report = await store.verify(uses.keys(), {
        ...options,
        onBytes: (_frames, bytes) => task.advance(bytes),
      })
    } finally {
      task.end()
    }
    const { partial } = await repo.config()
    const lost = report.lost.filter((l) => !(partial === true && l.reason === 'missing'))
    return {
      clean: lost.length === 0 && history.length === 0 && report.damaged.length === 0,
      deep: options.deep,
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
    }
  })
}
