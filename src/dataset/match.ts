import { type Context, contentId, type ContentId, CxvError, isCxvError } from '../base/index.ts'
import type { Repository } from '../repo/types.ts'
import { joinedView, openTables, quoteName, type Version } from '../table/index.ts'

/**
 * Files of a version for which a predicate over `files` or any table's row about them is true.
 * @throws CxvError COLUMN_UNKNOWN, SQL_FAILED when no table can answer it
 */
export async function matchImages(
  ctx: Context,
  repo: Repository,
  version: Version,
  where: string,
): Promise<readonly { readonly path: string; readonly id: ContentId }[]> {
  const session = await openTables(ctx, repo, version)
  try {
    const sources = session.tables
      .filter((t) => t.declaration.match !== 'none')
      .map((t) => ({
        from: quoteName(joinedView(t.declaration.name)),
        path: 'file_path',
        id: 'file_id',
      }))
    sources.push({ from: 'files', path: 'path', id: 'id' })
    const found = new Map<string, ContentId>()
    let answered = false
    let problem: CxvError | undefined
    for (const { from, path, id } of sources) {
      try {
        const { rows } = await session.query(
          `select ${path}, ${id} from ${from} where (${where}\n)`,
        )
        answered = true
        for (const [p, i] of rows) found.set(String(p), contentId(String(i)))
      } catch (error) {
        if (!isCxvError(error)) throw error
        problem ??= error
      }
    }
    if (!answered && problem !== undefined) throw problem
    return [...found].map(([path, id]) => ({ path, id })).sort((a, b) => (a.path < b.path ? -1 : 1))
  } finally {
    session.close()
  }
}
