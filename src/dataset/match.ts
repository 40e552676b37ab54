import {
  compareUtf8,
  type Context,
  contentId,
  type ContentId,
  CxvError,
  isCxvError,
} from '../base/index.ts'
import type { Repository } from '../repo/types.ts'
import { joinSelect, openTables, type Version } from '../table/index.ts'

/**
 * Files of a version for which a predicate over `files` or any table's row about them is true. A
 * table that lacks a column of the predicate says nothing; any other fault is thrown, for an answer
 * that leaves a table out would look like "never seen".
 * @throws CxvError COLUMN_UNKNOWN when no table has the columns, SQL_FAILED
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
      .map((t) => `(${joinSelect(t, ['f.path as "cxv path"', 'f.id as "cxv id"'])})`)
    sources.push('(select *, path as "cxv path", id as "cxv id" from files)')
    const found = new Map<string, ContentId>()
    let answered = false
    let problem: CxvError | undefined
    for (const source of sources) {
      try {
        const { rows } = await session.query(
          `select "cxv path", "cxv id" from ${source} where (${where}\n)`,
        )
        answered = true
        for (const [p, i] of rows) found.set(String(p), contentId(String(i)))
      } catch (error) {
        if (!isCxvError(error, 'COLUMN_UNKNOWN')) throw error
        problem ??= error
      }
    }
    if (!answered && problem !== undefined) throw problem
    return [...found]
      .map(([path, id]) => ({ path, id }))
      .sort((a, b) => compareUtf8(a.path, b.path))
  } finally {
    session.close()
  }
}
