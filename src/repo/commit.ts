import {
  canonicalJson,
  type CommitId,
  type Context,
  CxvError,
  firstOf,
  plural,
} from '../base/index.ts'
import type { Store } from '../store/types.ts'
import { applyStage, emptyStage, readStage } from './stage.ts'
import type { Repository, StageChange } from './types.ts'

type Stage = ReadonlyMap<string, StageChange>

export interface CommitReport {
  readonly commit: CommitId
  readonly branch: string | null
  readonly parents: readonly CommitId[]
  readonly files: number
  readonly bytes: number
  readonly added: number
  readonly changed: number
  readonly removed: number
  readonly message: string
}

/**
 * Makes a commit of HEAD with the stage applied and moves the branch to it, then empties the stage.
 * Killed between the two, the stage is the same as HEAD and changes nothing.
 * @throws CxvError NOTHING_TO_DO, REF_MOVED, CHUNK_MISSING, PATH_UNSUPPORTED when a path is staged as a file and as a folder
 */
export async function commitStage(
  ctx: Context,
  repo: Repository,
  options: { readonly message: string; readonly allowEmpty?: boolean },
): Promise<CommitReport> {
  return repo.withWriteLock('commit', async () => {
    const store = await repo.store()
    const head = await repo.history.head()
    const before = await repo.history.manifest(head.commit, { asWritten: true, ctx })
    const stage = await readStage(store.cache)
    const rows = applyStage(before, stage)
    const { tables } = await repo.config()
    const headTables = head.commit === null ? [] : (await repo.history.read(head.commit)).tables
    const counts = { added: 0, changed: 0, removed: 0 }
    const was = new Map(before.filter((row) => stage.has(row.path)).map((row) => [row.path, row]))
    for (const change of stage.values()) {
      const old = was.get(change.path)
      if (change.change === 'remove') counts.removed += old === undefined ? 0 : 1
      else if (old === undefined) counts.added++
      else if (old.id !== change.row.id || old.executable !== change.row.executable)
        counts.changed++
    }
    const tablesChanged = canonicalJson(headTables) !== canonicalJson(tables)
    const nothing = counts.added + counts.changed + counts.removed === 0 && !tablesChanged
    if (nothing && options.allowEmpty !== true) {
      throw new CxvError('NOTHING_TO_DO', 'nothing is staged', {
        hint: '`cxv add` what you changed, then commit; `cxv status` shows it',
      })
    }
    await refuseMissing(store, stage)
    const message = options.message.endsWith('\n') ? options.message : `${options.message}\n`
    const parents = head.commit === null ? [] : [head.commit]
    const commit = await repo.history.writeCommit(
      {
        rows,
        tables,
        parents,
        message,
        author: await repo.identity(),
        timeMs: ctx.now(),
        zoneMinutes: new Date(ctx.now()).getTimezoneOffset(),
      },
      ctx,
    )
    const subject = message.split('\n')[0] ?? ''
    const reason = head.commit === null ? `commit (initial): ${subject}` : `commit: ${subject}`
    if (head.branch === null) await repo.history.setHead(commit, reason)
    else await repo.history.casRef(head.branch, head.commit, commit, reason)
    await emptyStage(store.cache, stage)
    return {
      commit,
      branch: head.branch,
      parents,
      files: rows.length,
      bytes: rows.reduce((sum, row) => sum + row.size, 0),
      ...counts,
      message,
    }
  })
}

/** A commit must never name bytes that are not here. */
async function refuseMissing(store: Store, stage: Stage): Promise<void> {
  const ids = new Set([...stage.values()].flatMap((c) => (c.change === 'put' ? [c.row.id] : [])))
  const lost = await store.missing([...ids])
  if (lost.size === 0) return
  const paths = [...stage.values()].flatMap((c) =>
    c.change === 'put' && lost.has(c.row.id) ? [c.path] : [],
  )
  throw new CxvError(
    'CHUNK_MISSING',
    `the bytes of ${plural(paths.length, 'staged file')} are not here: ${firstOf(paths)}`,
    {
      hint: '`cxv add` them again, then commit',
      data: { paths: paths.slice(0, 1000), count: paths.length },
    },
  )
}
