import { type Context, CxvError, formatCount } from '../base/index.ts'
import type { Repository, TableDeclaration } from '../repo/types.ts'
import { quoteName, quoteText } from './duckdb.ts'
import { joinedView, matchCondition } from './load.ts'
import { openTablesOf, type TableSession } from './session.ts'

export interface TableReport {
  readonly declaration: TableDeclaration
  readonly rows: number
  readonly columns: readonly string[]
  /** What was made of a file that is not quite a table, in words. */
  readonly notes: readonly string[]
  readonly matchedRows: number
  readonly rowsWithoutFile: { readonly count: number; readonly examples: readonly string[] }
  /** Files under the rows' folder that no row is about. */
  readonly filesWithoutRow: { readonly count: number; readonly examples: readonly string[] }
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/

interface NewTable {
  readonly name: string
  readonly path: string
  readonly key: string
  readonly pathRoot?: string
  readonly match?: TableDeclaration['match']
}

/**
 * Declares a tracked file as a table with a key: checks the key and finds how keys name files.
 * @throws CxvError TABLE_INVALID, TABLE_EXISTS, TABLE_KEY, COLUMN_UNKNOWN, PATH_NOT_FOUND
 */
export async function declareTable(
  ctx: Context,
  repo: Repository,
  input: NewTable,
): Promise<TableReport> {
  const { name, path, key } = input
  checkName(input, (await repo.config()).tables)
  const rows = await repo.stagedRows()
  if (!rows.some((row) => row.path === path)) {
    throw new CxvError('PATH_NOT_FOUND', `${path} is not tracked`, {
      hint: `\`cxv add ${path}\` first`,
    })
  }
  const draft: TableDeclaration = { name, path, key, match: 'none', pathRoot: '' }
  const quiet = { ...ctx, emit: () => undefined }
  const session = await openTablesOf(quiet, repo, rows, [draft])
  try {
    session.table(name)
    await checkReserved(session, name)
    await checkKeys(session, draft)
    const declaration = await chooseMatch(session, draft, input)
    const report = await coverage(session, declaration)
    await repo.updateConfig((c) => ({
      ...c,
      tables: [...c.tables.filter((t) => t.name !== name), declaration].sort((a, b) =>
        a.name < b.name ? -1 : 1,
      ),
    }))
    return report
  } finally {
    session.close()
  }
}

/** @throws CxvError TABLE_INVALID, TABLE_EXISTS */
function checkName({ name, path }: NewTable, tables: readonly TableDeclaration[]): void {
  if (!NAME.test(name)) {
    throw new CxvError('TABLE_INVALID', `"${name}" cannot be a table's name`, {
      hint: 'letters, digits and _, not beginning with a digit: labels',
    })
  }
  const wanted = [name, joinedView(name)].map((n) => n.toLowerCase())
  const others = tables.filter((t) => t.name !== name)
  const taken = ['files', ...others.flatMap((t) => [t.name, joinedView(t.name)])]
  const clash = taken.find((t) => wanted.includes(t.toLowerCase()))
  if (clash !== undefined) {
    throw new CxvError('TABLE_EXISTS', `"${name}" would stand for the same as ${clash} in SQL`, {
      hint: 'choose another name; each table NAME also has a view NAME_files',
    })
  }
  const known = tables.find((t) => t.name === name)
  if (known !== undefined && known.path !== path) {
    throw new CxvError('TABLE_EXISTS', `table ${name} is ${known.path} already`, {
      hint: `\`cxv table remove ${name}\` first, or choose another name`,
    })
  }
}

/** A word of SQL would have to be quoted in every question. */
async function checkReserved(session: TableSession, name: string): Promise<void> {
  const { rows } = await session.query(
    `select 1 from duckdb_keywords() where keyword_category = 'reserved' and keyword_name = ${quoteText(name.toLowerCase())}`,
  )
  if (rows.length === 0) return
  throw new CxvError('TABLE_INVALID', `"${name}" is a word of SQL`, {
    hint: 'choose another name: labels',
  })
}

/** Equal or empty keys: rows could not be told apart. @throws CxvError TABLE_KEY */
async function checkKeys(session: TableSession, { name, key }: TableDeclaration): Promise<void> {
  const column = quoteName(key)
  const table = quoteName(name)
  const { rows: doubles } = await session.query(
    `select ${column}, count(*) n, count(*) over () from ${table} where ${column} is not null group by 1 having n > 1 order by 1 limit 5`,
  )
  const { rows: empty } = await session.query(
    `select count(*) from ${table} where ${column} is null or trim(cast(${column} as varchar)) = ''`,
  )
  const emptyCount = Number(empty[0]?.[0] ?? 0)
  if (doubles.length === 0 && emptyCount === 0) return
  const parts: string[] = []
  if (doubles.length > 0) {
    const lines: string[] = []
    for (const [value, n] of doubles) {
      const at = await session.query(
        `select rn + 1 from (select row_number() over () rn, ${column} k from ${table}) where k = ${quoteText(String(value))} limit 3`,
      )
      lines.push(
        `"${String(value)}" ${String(n)} times (lines ${at.rows.map((r) => String(r[0])).join(', ')})`,
      )
    }
    parts.push(
      `${formatCount(Number(doubles[0]?.[2] ?? 0))} keys occur more than once: ${lines.join('; ')}`,
    )
  }
  if (emptyCount > 0) parts.push(`${formatCount(emptyCount)} rows have an empty key`)
  throw new CxvError('TABLE_KEY', `column "${key}" cannot be the key: ${parts.join('; ')}`, {
    hint: 'correct the rows, `cxv add` the file again, or choose another key column',
    data: {
      key,
      duplicates: doubles.map(([value, n]) => ({ key: value, times: n })),
      empty: emptyCount,
    },
  })
}

async function chooseMatch(
  session: TableSession,
  draft: TableDeclaration,
  input: { readonly pathRoot?: string; readonly match?: TableDeclaration['match'] },
): Promise<TableDeclaration> {
  if (input.pathRoot !== undefined) return { ...draft, match: 'root', pathRoot: input.pathRoot }
  if (input.match !== undefined && input.match !== 'root') return { ...draft, match: input.match }
  const cell = `cast(t.${quoteName(draft.key)} as varchar)`
  const { rows: folders } = await session.query(
    `select case when length(f.path) = length(${cell}) then '' else left(f.path, length(f.path) - length(${cell}) - 1) end as root, count(*) n
     from ${quoteName(draft.name)} t join files f on f.name = parse_filename(${cell}) and (f.path = ${cell} or ends_with(f.path, '/' || ${cell}))
     group by 1 order by n desc, root limit 2`,
  )
  const best = folders[0]
  if (best === undefined) return input.match === 'root' ? { ...draft, match: 'root' } : draft
  if (folders.length === 1 || input.match === 'root')
    return { ...draft, match: 'root', pathRoot: String(best[0]) }
  const { rows: clashes } = await session.query(
    `select count(*) from (select f.name from files f semi join ${quoteName(draft.name)} t on f.name = ${cell} group by 1 having count(*) > 1)`,
  )
  const unique = Number(clashes[0]?.[0] ?? 1) === 0
  return unique
    ? { ...draft, match: 'basename' }
    : { ...draft, match: 'root', pathRoot: String(best[0]) }
}

/**
 * How many rows have their file, and the other way round.
 * @param where only rows for which this is true, as far as it can be asked of rows without a file
 */
export async function coverage(
  session: TableSession,
  declaration: TableDeclaration,
  where = '',
): Promise<TableReport> {
  const { name, key, match, pathRoot } = declaration
  const facts = session.table(name)
  const none = { count: 0, examples: [] }
  if (match === 'none') {
    return {
      declaration,
      rows: facts.rows,
      columns: facts.columns,
      notes: facts.notes,
      matchedRows: 0,
      rowsWithoutFile: none,
      filesWithoutRow: none,
    }
  }
  const condition = matchCondition(declaration)
  const named = async (
    from: string,
    column: string,
  ): Promise<{ count: number; examples: string[] }> => {
    const { rows: counted } = await session.query(`select count(*) ${from}`)
    const { rows: first } = await session.query(`select ${column} ${from} order by 1 limit 5`)
    return { count: Number(counted[0]?.[0] ?? 0), examples: first.map((r) => String(r[0])) }
  }
  const missing = (rows: string): Promise<{ count: number; examples: string[] }> =>
    named(`from ${rows} t anti join files f on ${condition}`, `t.${quoteName(key)}`)
  const rowsWithoutFile = await missing(
    (await canFilter(session, name, where))
      ? `(select * from ${quoteName(name)} where (${where}\n))`
      : quoteName(name),
  )
  const inFolder =
    match === 'root' && pathRoot !== ''
      ? `starts_with(f.path, ${quoteText(`${pathRoot}/`)})`
      : IS_IMAGE
  const filesWithoutRow = await named(
    `from (select * from files f where ${inFolder}) f anti join ${quoteName(name)} t on ${condition}`,
    'f.path',
  )
  return {
    declaration,
    rows: facts.rows,
    columns: facts.columns,
    notes: facts.notes,
    matchedRows: facts.rows - rowsWithoutFile.count,
    rowsWithoutFile,
    filesWithoutRow,
  }
}

/** A predicate over columns of the file cannot be asked of rows that have none. */
async function canFilter(session: TableSession, name: string, where: string): Promise<boolean> {
  if (where.trim() === '') return false
  try {
    await session.query(`select 1 from ${quoteName(name)} where (${where}\n) limit 0`)
    return true
  } catch {
    return false
  }
}

const IS_IMAGE = `f.extension in ('png', 'jpg', 'jpeg', 'tif', 'tiff', 'bmp', 'webp', 'dcm')`
