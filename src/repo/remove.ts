import { dirname, join } from 'node:path'
import { type Context, CxvError, plural } from '../base/index.ts'
import { fileAndFolder } from '../history/index.ts'
import { removeEmptyFolders, removePath } from '../io/index.ts'
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
 * Stages the removal of files and deletes them from disk, unless `keepFiles`.
 * @throws CxvError LOCAL_CHANGES when a file's bytes are in no version and `force` is not given
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
    const inHead = new Set(head.map((row) => row.path))
    const present = options.keepFiles
      ? []
      : rows.filter((row) => {
          // Also when forced: what lies behind a link is not ours to delete.
          refuseLinks(repo.root, row.path)
          return statOf(join(repo.root, row.path)) !== undefined
        })
    if (!options.force) {
      const changed = present.filter((row) => {
        ctx.signal.throwIfAborted()
        return hashFile(join(repo.root, row.path)) !== row.id
      })
      if (changed.length > 0) {
        throw new CxvError(
          'LOCAL_CHANGES',
          `${plural(changed.length, 'file')} changed since it was added: ${changed
            .slice(0, 5)
            .map((r) => r.path)
            .join(', ')}`,
          {
            hint: '`cxv add` keeps the change, --cached leaves the file on disk, --force deletes it',
            data: { paths: changed.slice(0, 1000).map((r) => r.path) },
          },
        )
      }
    }
    await store.cache.write([
      ...rows.map(({ path }) =>
        inHead.has(path) ? stageChange({ path, change: 'remove' }) : unstageChange(path),
      ),
      ...rows.map(({ path }) => statChange(path, undefined)),
    ])
    for (const { path } of present) {
      removePath(join(repo.root, path))
      removeEmptyFolders(dirname(join(repo.root, path)), repo.root)
    }
    return { removed: rows.map((row) => row.path), deleted: present.length }
  })
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
    const plan = await checkoutRows(ctx, repo, from, rows, { complete: true, force: options.force })
    return { ...plan, unstaged: 0 }
  })
}
