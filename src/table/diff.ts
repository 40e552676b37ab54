import { canonicalJson, type Context, isCxvError, plural } from '../base/index.ts'
import type { ManifestRow, Repository, TableDeclaration } from '../repo/types.ts'
import { quoteName, quoteText } from './duckdb.ts'
import type { TableColumns } from './load.ts'
import { openTablePair, type TableSession, type Version } from './session.ts'

const EXAMPLES = 5
/** A column with at most this many different labels is taken for a class column. */
const MAX_CLASSES = 60
const SEPARATOR = '|'

export interface ColumnChange {
  readonly column: string
  readonly cells: number
  readonly examples: readonly {
    readonly key: string
    readonly before: string | null
    readonly after: string | null
  }[]
}

export interface ClassChange {
  readonly column: string
  readonly label: string
  readonly before: number
  readonly after: number
}

export interface TableDiff {
  readonly table: string
  readonly change: 'added' | 'removed' | 'changed'
  readonly rowsBefore: number
  readonly rowsAfter: number
  readonly rowsAdded: number
  readonly rowsRemoved: number
  readonly rowsChanged: number
  readonly addedExamples: readonly string[]
  readonly removedExamples: readonly string[]
  readonly columnsAdded: readonly string[]
  readonly columnsRemoved: readonly string[]
  /** Columns whose cells differ in rows that both versions have. */
  readonly cells: readonly ColumnChange[]
  readonly classes: readonly ClassChange[]
}

/**
 * Row differences of every table that is not the same in both versions. Rows are paired by key. Cells
 * are compared by value when both versions give the column the same type, else as text: `00000013`
 * and `13` differ. A table that cannot be read is told as a warning and left out.
 */
export async function diffTables(
  ctx: Context,
  repo: Repository,
  before: Version | null,
  after: Version,
): Promise<readonly TableDiff[]> {
  const old = before === null ? [] : await declarationsOf(repo, before)
  const now = await declarationsOf(repo, after)
  const names = [...new Set([...old, ...now].map((t) => t.name))].sort()
  const diffs: TableDiff[] = []
  for (const name of names) {
    ctx.signal.throwIfAborted()
    const find = (tables: readonly TableDeclaration[]): TableDeclaration | undefined =>
      tables.find((t) => t.name === name)
    const a = await versionOf(repo, before, find(old))
    const b = await versionOf(repo, after, find(now))
    if (isSame(a, b)) continue
    try {
      const session = await openTablePair(ctx, repo, a, b)
      try {
        diffs.push(await diffPair(ctx, name, session))
      } finally {
        session.close()
      }
    } catch (error) {
      if (!isCxvError(error)) throw error
      ctx.signal.throwIfAborted()
      ctx.emit({
        type: 'warn',
        code: error.code,
        message: `rows of table ${name} are not compared: ${error.message}`,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      })
    }
  }
  return diffs
}

interface Side {
  readonly declaration: TableDeclaration
  readonly row: ManifestRow
}

const isSame = (a: Side | undefined, b: Side | undefined): boolean =>
  a?.row.id === b?.row.id &&
  canonicalJson(a?.declaration ?? null) === canonicalJson(b?.declaration ?? null)

const declarationsOf = async (
  repo: Repository,
  version: Version,
): Promise<readonly TableDeclaration[]> =>
  version === 'stage' ? (await repo.config()).tables : (await repo.history.read(version)).tables

async function versionOf(
  repo: Repository,
  version: Version | null,
  declaration: TableDeclaration | undefined,
): Promise<Side | undefined> {
  if (declaration === undefined || version === null) return undefined
  const { path } = declaration
  const row =
    version === 'stage'
      ? await repo.stagedRow(path)
      : (await repo.history.rowsUnder(version, path)).find((r) => r.path === path)
  return row === undefined ? undefined : { declaration, row }
}

async function diffPair(ctx: Context, name: string, session: TableSession): Promise<TableDiff> {
  const a = session.tables.find((t) => t.declaration.name === 'before')
  const b = session.tables.find((t) => t.declaration.name === 'after')
  if (a === undefined || b === undefined) return wholeTable(name, a, b)
  for (const side of [a, b]) await warnOfDoubles(ctx, name, session, side)
  const pair = pairOf(a, b)
  const on = `${pair.keyA} = ${pair.keyB}`
  const only = async (key: string, join: string): Promise<{ n: number; examples: string[] }> => {
    const { rows: n } = await session.query(`select count(*) from ${join}`)
    const { rows } = await session.query(`select ${key} from ${join} order by 1 limit ${EXAMPLES}`)
    return { n: Number(n[0]?.[0] ?? 0), examples: rows.map((r) => String(r[0])) }
  }
  const added = await only(pair.keyB, `after b anti join before a on ${on}`)
  const removed = await only(pair.keyA, `before a anti join after b on ${on}`)
  return {
    table: name,
    change: 'changed',
    rowsBefore: a.rows,
    rowsAfter: b.rows,
    rowsAdded: added.n,
    rowsRemoved: removed.n,
    addedExamples: added.examples,
    removedExamples: removed.examples,
    columnsAdded: b.columns.filter((c) => !a.columns.includes(c)),
    columnsRemoved: a.columns.filter((c) => !b.columns.includes(c)),
    ...(await changedCells(session, pair)),
    classes: await classChanges(
      session,
      pair.shared.filter((c) => b.types[b.columns.indexOf(c)] === 'VARCHAR'),
    ),
  }
}

function wholeTable(
  table: string,
  a: TableColumns | undefined,
  b: TableColumns | undefined,
): TableDiff {
  return {
    table,
    change: b === undefined ? 'removed' : 'added',
    rowsBefore: a?.rows ?? 0,
    rowsAfter: b?.rows ?? 0,
    rowsAdded: b?.rows ?? 0,
    rowsRemoved: a?.rows ?? 0,
    rowsChanged: 0,
    addedExamples: [],
    removedExamples: [],
    columnsAdded: [],
    columnsRemoved: [],
    cells: [],
    classes: [],
  }
}

/** Rows with equal keys are paired with each other, each with each: the counts are then too high. */
async function warnOfDoubles(
  ctx: Context,
  table: string,
  session: TableSession,
  { declaration }: TableColumns,
): Promise<void> {
  const { rows } = await session.query(
    `select count(*) from (select 1 from ${declaration.name} group by ${quoteName(declaration.key)} having count(*) > 1)`,
  )
  const n = Number(rows[0]?.[0] ?? 0)
  if (n === 0) return
  ctx.emit({
    type: 'warn',
    code: 'TABLE_KEY',
    message: `table ${table}, ${declaration.name}: ${plural(n, 'key')} in more than one row; their rows are counted more than once`,
    hint: `\`cxv query 'select "${declaration.key}", count(*) from ${table} group by 1 having count(*) > 1'\` names them`,
  })
}

interface Pair {
  /** SQL of the key as text. */
  readonly keyA: string
  readonly keyB: string
  readonly shared: readonly string[]
  /** SQL that is true where the cells of a shared column differ. */
  readonly differs: (column: string) => string
}

function pairOf(a: TableColumns, b: TableColumns): Pair {
  return {
    keyA: `cast(a.${quoteName(a.declaration.key)} as varchar)`,
    keyB: `cast(b.${quoteName(b.declaration.key)} as varchar)`,
    shared: a.columns.filter((c) => b.columns.includes(c) && c !== a.declaration.key),
    differs(column) {
      const same = a.types[a.columns.indexOf(column)] === b.types[b.columns.indexOf(column)]
      const [x, y] = [`a.${quoteName(column)}`, `b.${quoteName(column)}`]
      return same
        ? `${x} is distinct from ${y}`
        : `cast(${x} as varchar) is distinct from cast(${y} as varchar)`
    },
  }
}

async function changedCells(
  session: TableSession,
  { keyA, keyB, shared, differs }: Pair,
): Promise<Pick<TableDiff, 'rowsChanged' | 'cells'>> {
  if (shared.length === 0) return { rowsChanged: 0, cells: [] }
  const join = `from before a join after b on ${keyA} = ${keyB}`
  const tests = shared.map(differs)
  const counted = await session.query(
    `select ${[tests.join(' or '), ...tests].map((test) => `count(*) filter (where ${test})`).join(', ')} ${join}`,
  )
  const [rowsChanged = 0, ...perColumn] = (counted.rows[0] ?? []).map(Number)
  const cells: ColumnChange[] = []
  for (const [i, column] of shared.entries()) {
    const n = perColumn[i] ?? 0
    if (n === 0) continue
    const { rows } = await session.query(
      `select ${keyA}, cast(a.${quoteName(column)} as varchar), cast(b.${quoteName(column)} as varchar) ${join} where ${differs(column)} order by 1 limit ${EXAMPLES}`,
    )
    cells.push({
      column,
      cells: n,
      examples: rows.map(([key, x, y]) => ({ key: String(key), before: text(x), after: text(y) })),
    })
  }
  return { rowsChanged, cells }
}

const text = (cell: unknown): string | null =>
  cell === null || cell === undefined ? null : String(cell as string)

/** Counts of each label in columns that hold few different ones, where the two versions differ. */
async function classChanges(
  session: TableSession,
  columns: readonly string[],
): Promise<readonly ClassChange[]> {
  const changes: ClassChange[] = []
  for (const column of columns) {
    const labels = (side: string): string =>
      `select trim(unnest(string_split(cast(${quoteName(column)} as varchar), ${quoteText(SEPARATOR)}))) as label from ${side}`
    const counted = (side: string): string =>
      `(select label, count(*) n from (${labels(side)}) where label <> '' group by 1)`
    const { rows: few } = await session.query(
      `select count(distinct label) from (${labels('after')})`,
    )
    if (Number(few[0]?.[0] ?? 0) > MAX_CLASSES) continue
    const { rows } = await session.query(
      `select coalesce(x.label, y.label), coalesce(x.n, 0), coalesce(y.n, 0) from ${counted('before')} x full join ${counted('after')} y on x.label = y.label where coalesce(x.n, 0) <> coalesce(y.n, 0) order by 1`,
      2 * MAX_CLASSES,
    )
    for (const [label, n, m] of rows) {
      changes.push({ column, label: String(label), before: Number(n), after: Number(m) })
    }
  }
  return changes
}
