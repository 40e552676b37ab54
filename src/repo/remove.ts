import { dirname, join } from 'node:path'
import { type Context, CxvError, firstOf, plural, startTask } from '../base/index.ts'
import { fileAndFolder } from '../history/index.ts'
import { nextTurn, removeEmptyFolders, removePath } from '../io/index.ts'
import { refuseLinks } from './add.ts'
import { checkoutRows } from './checkout.ts'
import { hashFile } from './hash.ts'
import { statOf } from './walk.ts'
import { openClashes, readStage, stageChange, unstageChange } from './stage.ts'
import { statChange } from './stat-cache.ts'
import type { CheckoutPlan, ManifestRow, Repository } from './types.ts'

const isUnder = (path: string, folder: string): boolean =>
  folder === '' || path === folder || path.startsWith(`${folder}/`)

/** The tracked rows at or below the paths. @throws CxvError PATH_NOT_FOUND for a path that has none */
function rowsAt(rows: readonly ManifestRow[], paths: readonly string[]): readonly ManifestRow[] {
  for (const path of paths) {
    if (!rows.some((row) => isUnder(row.path, path))) {
      throw new CxvError(
        'PATH_NOT_FOUND',
        `nothing is tracked at ${path === '' ? 'the top' : path}`,
        {
          hint: '`cxv ls` lists what is',
          data: { path },
        },
      )
    }
  }
  return rows.filter((row) => paths.some((path) => isUnder(row.path, path)))
}

/**
 * Deletes files from disk, unless `keepFiles`, and stages their removal. Stopped on the way, it is
 * finished by calling it again: what was deleted is still tracked then.
 * @throws CxvError LOCAL_CHANGES when a file's bytes are not in HEAD and `force` is not given
 */
export async function unstagePaths(
  ctx: Context,
  repo: Repository,
  paths: readonly string[],
  options: { readonly keepFiles: boolean; readonly force: boolean },
): Promise<{ readonly removed: readonly string[]; readonly deleted: number }> {
  return repo.withWriteLock('rm', async () => {
    const store = await repo.store()
    const rows = rowsAt(await repo.stagedRows(), paths)
    const { commit } = await repo.history.head()
    const head = await repo.history.manifest(commit, { asWritten: true })
    const present = options.keepFiles
      ? []
      : rows.filter((row) => {
          // Also when forced: what lies behind a link is not ours to delete.
          refuseLinks(repo.root, row.path)
          return statOf(join(repo.root, row.path)) !== undefined
        })
    if (!options.force) await refuseUncommitted(ctx, repo, present, head)
    await eachFile(ctx, 'deleting', present, ({ path }) => {
      removePath(join(repo.root, path))
      removeEmptyFolders(dirname(join(repo.root, path)), repo.root)
    })
    const inHead = new Set(head.map((row) => row.path))
    await store.cache.write([
      ...rows.map(({ path }) =>
        inHead.has(path) ? stageChange({ path, change: 'remove' }) : unstageChange(path),
      ),
      ...rows.map(({ path }) => statChange(path, undefined)),
    ])
    return { removed: rows.map((row) => row.path), deleted: present.length }
  })
}

/** The stage is no version: with its entry gone, no verb finds what it held. */
async function refuseUncommitted(
  ctx: Context,
  repo: Repository,
  rows: readonly ManifestRow[],
  head: readonly ManifestRow[],
): Promise<void> {
  const committed = new Set<string>(head.map((row) => row.id))
  const lost: string[] = []
  await eachFile(ctx, 'checking files', rows, (row) => {
    const here = hashFile(join(repo.root, row.path))
    if (!committed.has(row.id) || here === undefined || !committed.has(here)) lost.push(row.path)
  })
  if (lost.length === 0) return
  throw new CxvError(
    'LOCAL_CHANGES',
    `no commit has the bytes of ${plural(lost.length, 'file')}: ${firstOf(lost)}`,
    {
      hint: '`cxv commit` them first, or `cxv restore --staged` to unstage them; --cached leaves the files on disk, --force loses them',
      data: { paths: lost.slice(0, 1000), count: lost.length },
    },
  )
}

const FILES_IN_A_TURN = 200

/** Calls it for each, counting, and stops when told to. */
async function eachFile(
  ctx: Context,
  title: string,
  rows: readonly ManifestRow[],
  work: (row: ManifestRow) => void,
): Promise<void> {
  if (rows.length === 0) return
  const task = startTask(ctx, title, 'files', rows.length)
  try {
    for (const [i, row] of rows.entries()) {
      if (i % FILES_IN_A_TURN === 0) await nextTurn()
      ctx.signal.throwIfAborted()
      work(row)
      task.advance(1)
    }
  } finally {
    task.end()
  }
}

/**
 * Puts files back as they are staged, or as another version has them.
 * @param options.staged forget what is staged for the paths instead of touching the work tree
 * @throws CxvError LOCAL_CHANGES without `force` when a changed file would be overwritten,
 * PATH_UNSUPPORTED when the version has a path as a file and as a folder
 */
export async function restorePaths(
  ctx: Context,
  repo: Repository,
  paths: readonly string[],
  options: { readonly source?: string; readonly staged: boolean; readonly force: boolean },
): Promise<CheckoutPlan & { readonly unstaged: number }> {
  return repo.withWriteLock('restore', async () => {
    const store = await repo.store()
    if (options.staged) {
      const stage = await readStage(store.cache)
      const hits = [...stage.keys()].filter((key) => paths.some((path) => isUnder(key, path)))
      await store.cache.write(hits.map(unstageChange))
      return { write: [], remove: [], bytes: 0, unstaged: hits.length }
    }
    const now = await repo.stagedRows()
    const source =
      options.source === undefined
        ? now
        : await repo.history.manifest(await repo.history.resolve(options.source))
    const rows = rowsAt(source, paths)
    const both = fileAndFolder(rows)
    if (both !== undefined) {
      throw new CxvError('PATH_UNSUPPORTED', `${both} is tracked as a file and as a folder`, {
        hint: '`cxv restore --source VERSION` takes it from another version',
        data: { path: both },
      })
    }
    const wanted = new Set(rows.map((row) => row.path))
    const clashes = openClashes(new Map(now.map((row) => [row.path, row])))
    const inTheWay = new Set(rows.flatMap((row) => clashes(row.path)))
    // Files that the source lacks stay, but where one of its files must go: restore brings things back.
    const from = now.filter((row) => wanted.has(row.path) || inTheWay.has(row.path))
    const plan = await checkoutRows(ctx, repo, from, rows, {
      complete: true,
      force: options.force,
      tracked: now,
    })
    return { ...plan, unstaged: 0 }
  })
}
