import { canonicalJson, type Context } from '../base/index.ts'
import type { ManifestRow, Repository, TableDeclaration } from '../repo/types.ts'
import { quoteName } from './duckdb.ts'
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
 * are compared by value when both versions give the column the same type, else as text.
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
    const a = await versionOf(
      repo,
      before,
      old.find((t) => t.name === name),
    )
    const b = await versionOf(
      repo,
      after,
      now.find((t) => t.name === name),
    )
    if (
      a !== undefined &&
      b !== undefined &&
      a.row.id === b.row.id &&
      canonicalJson(a.declaration) === canonicalJson(b.declaration)
    ) {
      continue
    }
    if (a === undefined && b === undefined) continue
    const session = await openTablePair(ctx, repo, a, b)
    try {
      diffs.push(await diffPair(name, session))
    } finally {
      session.close()
    }
  }
  return diffs
}

const declarationsOf = async (
  repo: Repository,
  version: Version,
): Promise<readonly TableDeclaration[]> =>
  version === 'stage' ? (await repo.config()).tables : (await repo.history.read(version)).tables

async function versionOf(
  repo: Repository,
  version: Version | null,
  declaration: TableDeclaration | undefined,
): Promise<{ declaration: TableDeclaration; row: ManifestRow } | undefined> {
  if (declaration === undefined || version === null) return undefined
  const { path } = declaration
  const row =
    version === 'stage'
      ? await repo.stagedRow(path)
      : (await repo.history.rowsUnder(version, path)).find((r) => r.path === path)
  return row === undefined ? undefined : { declaration, row }
}

async function diffPair(name: string, session: TableSession): Promise<TableDiff> {
  const a = session.tables.find((t) => t.declaration.name === 'before')
  const b = session.tables.find((t) => t.declaration.name === 'after')
  const empty = {
    rowsAdded: 0,
    rowsRemoved: 0,
    rowsChanged: 0,
    addedExamples: [],
    removedExamples: [],
    columnsAdded: [],
    columnsRemoved: [],
    cells: [],
    classes: [],
  }
  const one = b ?? a
  if (a === undefined || b === undefined) {
    const rows = one?.rows ?? 0
    return b !== undefined
      ? { table: name, change: 'added', rowsBefore: 0, rowsAfter: rows, ...empty, rowsAdded: rows }
      : {
          table: name,
          change: 'removed',
          rowsBefore: rows,
          rowsAfter: 0,
          ...empty,
          rowsRemoved: rows,
        }
  }
  const keyA = `cast(a.${quoteName(a.declaration.key)} as varchar)`
  const keyB = `cast(b.${quoteName(b.declaration.key)} as varchar)`
  const on = `${keyA} = ${keyB}`
  const shared = a.columns.filter((c) => b.columns.includes(c) && c !== a.declaration.key)
  const differs = (column: string): string => {
    const same = a.types[a.columns.indexOf(column)] === b.types[b.columns.indexOf(column)]
    const [x, y] = [`a.${quoteName(column)}`, `b.${quoteName(column)}`]
    return same
      ? `${x} is distinct from ${y}`
      : `cast(${x} as varchar) is distinct from cast(${y} as varchar)`
  }
  const only = async (
    side: string,
    key: string,
    join: string,
  ): Promise<{ count: number; examples: string[] }> => {
    const { rows: n } = await session.query(`select count(*) from ${join}`)
    const { rows } = await session.query(`select ${key} from ${join} order by 1 limit ${EXAMPLES}`)
    return { count: Number(n[0]?.[0] ?? 0), examples: rows.map((r) => `${String(r[0])}${side}`) }
  }
  const added = await only('', keyB, `after b anti join before a on ${on}`)
  const removed = await only('', keyA, `before a anti join after b on ${on}`)
  const counts =
    shared.length === 0
      ? [0]
      : ((
          await session.query(
            `select count(*) filter (where ${shared.map((c) => `(${differs(c)})`).join(' or ')}), ${shared.map((c) => `count(*) filter (where ${differs(c)})`).join(', ')} from before a join after b on ${on}`,
          )
        ).rows[0]?.map(Number) ?? [0])
  const cells: ColumnChange[] = []
  for (const [i, column] of shared.entries()) {
    const n = counts[i + 1] ?? 0
    if (n === 0) continue
    const { rows } = await session.query(
      `select ${keyA}, cast(a.${quoteName(column)} as varchar), cast(b.${quoteName(column)} as varchar) from before a join after b on ${on} where ${differs(column)} order by 1 limit ${EXAMPLES}`,
    )
    cells.push({
      column,
      cells: n,
      examples: rows.map(([key, x, y]) => ({ key: String(key), before: text(x), after: text(y) })),
    })
  }
  return {
    table: name,
    change: 'changed',
    rowsBefore: a.rows,
    rowsAfter: b.rows,
    rowsAdded: added.count,
    rowsRemoved: removed.count,
    rowsChanged: counts[0] ?? 0,
    addedExamples: added.examples,
    removedExamples: removed.examples,
    columnsAdded: b.columns.filter((c) => !a.columns.includes(c)),
    columnsRemoved: a.columns.filter((c) => !b.columns.includes(c)),
    cells,
    classes: await classChanges(
      session,
      shared.filter((c) => b.types[b.columns.indexOf(c)] === 'VARCHAR'),
    ),
  }
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
      `select trim(unnest(string_split(cast(${quoteName(column)} as varchar), '${SEPARATOR}'))) as label from ${side}`
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
