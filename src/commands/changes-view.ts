import {
  canonicalJson,
  type CommitId,
  formatBytes,
  plural,
  printable,
  printableLine,
} from '../base/index.ts'
import type { History, ManifestRow, RowChange, TableDeclaration } from '../history/index.ts'
import type { TextStyle } from './types.ts'

export interface FileChange {
  readonly change: 'added' | 'removed' | 'changed'
  readonly path: string
  /** Bytes after the change; of a removed file, before it. */
  readonly size: number
  /** Only of a changed file: bytes before. */
  readonly sizeBefore?: number
  /** Only of a changed file: its bytes are the same, the executable bit is not. */
  readonly modeOnly?: true
}

export interface Tally {
  readonly files: number
  readonly bytes: number
}

export interface Changes {
  readonly added: Tally
  readonly removed: Tally
  /** Bytes as they are after. */
  readonly changed: Tally
  /** Files whose bytes are in both, under another path. Each is in `added` and in `removed` as well. */
  readonly moved: number
  readonly files: readonly FileChange[]
  readonly tables: readonly {
    readonly change: 'added' | 'removed' | 'changed'
    readonly name: string
  }[]
}

/** All changes from one version's rows and tables to another's. */
export async function collectChanges(
  rowChanges: AsyncIterable<RowChange> | Iterable<RowChange>,
  tables: {
    readonly before: readonly TableDeclaration[]
    readonly after: readonly TableDeclaration[]
  },
  signal: AbortSignal,
): Promise<Changes> {
  const tally = {
    added: { files: 0, bytes: 0 },
    removed: { files: 0, bytes: 0 },
    changed: { files: 0, bytes: 0 },
  }
  const files: FileChange[] = []
  const removedIds = new Map<string, number>()
  const addedIds: string[] = []
  for await (const row of rowChanges) {
    signal.throwIfAborted()
    const change = fileChange(row)
    tally[change.change].files++
    tally[change.change].bytes += change.size
    files.push(change)
    if (row.change === 'removed')
      removedIds.set(row.before.id, (removedIds.get(row.before.id) ?? 0) + 1)
    if (row.change === 'added') addedIds.push(row.after.id)
  }
  let moved = 0
  for (const id of addedIds) {
    const left = removedIds.get(id) ?? 0
    if (left > 0) moved++
    removedIds.set(id, left - 1)
  }
  return { ...tally, moved, files, tables: tableChanges(tables.before, tables.after) }
}

function fileChange(row: RowChange): FileChange {
  switch (row.change) {
    case 'added':
      return { change: 'added', path: row.path, size: row.after.size }
    case 'removed':
      return { change: 'removed', path: row.path, size: row.before.size }
    case 'changed':
      return {
        change: 'changed',
        path: row.path,
        size: row.after.size,
        sizeBefore: row.before.size,
        ...(row.before.id === row.after.id ? { modeOnly: true as const } : {}),
      }
  }
}

function tableChanges(
  before: readonly TableDeclaration[],
  after: readonly TableDeclaration[],
): Changes['tables'] {
  const old = new Map(before.map((table) => [table.name, canonicalJson(table)]))
  const now = new Map(after.map((table) => [table.name, canonicalJson(table)]))
  return [...new Set([...old.keys(), ...now.keys()])]
    .sort()
    .filter((name) => old.get(name) !== now.get(name))
    .map((name) => ({
      name,
      change: !old.has(name) ? 'added' : !now.has(name) ? 'removed' : 'changed',
    }))
}

/** Two sorted lists of rows as changes: for the stage, which is no commit yet. */
export function* diffRows(
  before: readonly ManifestRow[],
  after: readonly ManifestRow[],
  compare: (a: string, b: string) => number,
): Generator<RowChange> {
  let [i, j] = [0, 0]
  for (;;) {
    const [a, b] = [before[i], after[j]]
    if (a === undefined && b === undefined) return
    const order = a === undefined ? 1 : b === undefined ? -1 : a === b ? 0 : compare(a.path, b.path)
    if (a !== undefined && order < 0) yield { change: 'removed', path: a.path, before: a }
    else if (b !== undefined && order > 0) yield { change: 'added', path: b.path, after: b }
    else if (a && b && (a.id !== b.id || a.executable !== b.executable)) {
      yield { change: 'changed', path: a.path, before: a, after: b }
    }
    if (order <= 0) i++
    if (order >= 0) j++
  }
}

/** Changes between two commits; `null` is the empty dataset. */
export async function commitChanges(
  history: History,
  before: CommitId | null,
  after: CommitId,
  signal: AbortSignal,
): Promise<Changes> {
  const tables = {
    before: before === null ? [] : (await history.read(before)).tables,
    after: (await history.read(after)).tables,
  }
  return collectChanges(history.diff(before, after), tables, signal)
}

/** `2 files added (1.5 MiB), 1 removed (400 KiB), 3 changed (1.2 MiB)` */
export function summaryLine({ added, removed, changed, moved }: Changes): string {
  const parts = [
    { what: 'added', tally: added },
    { what: 'removed', tally: removed },
    { what: 'changed', tally: changed },
  ]
    .filter(({ tally }) => tally.files > 0)
    .map(
      ({ what, tally }) => `${plural(tally.files, 'file')} ${what} (${formatBytes(tally.bytes)})`,
    )
  if (moved > 0) parts.push(`of these ${plural(moved, 'file')} moved`)
  return parts.length === 0 ? 'no file differs' : parts.join(', ')
}

const SIGNS = { added: '+', removed: '-', changed: '~' } as const

/** A line per change, at most `limit`, then how many are left out. */
export function* changeLines(changes: Changes, limit: number, style: TextStyle): Iterable<string> {
  const paint = { added: style.green, removed: style.red, changed: style.yellow }
  for (const { change, name } of changes.tables) {
    yield paint[change](`${SIGNS[change]} table ${printable(name)}`)
  }
  for (const file of changes.files.slice(0, limit)) {
    const size =
      file.modeOnly === true
        ? 'executable bit'
        : file.sizeBefore === undefined || file.sizeBefore === file.size
          ? formatBytes(file.size)
          : `${formatBytes(file.sizeBefore)} -> ${formatBytes(file.size)}`
    yield `${paint[file.change](`${SIGNS[file.change]} ${printableLine(file.path)}`)}  ${style.dim(size)}`
  }
  const left = changes.files.length - limit
  if (left > 0) yield style.dim(`... and ${plural(left, 'more file')} (--limit shows more)`)
}

export interface FolderTally {
  readonly folder: string
  readonly added: number
  readonly removed: number
  readonly changed: number
}

/** Changes per folder, sorted by path; `` is the top. */
export function tallyFolders(files: readonly FileChange[]): readonly FolderTally[] {
  const folders = new Map<string, { added: number; removed: number; changed: number }>()
  for (const { path, change } of files) {
    const folder = path.slice(0, Math.max(0, path.lastIndexOf('/')))
    const tally = folders.get(folder) ?? { added: 0, removed: 0, changed: 0 }
    tally[change]++
    folders.set(folder, tally)
  }
  return [...folders]
    .map(([folder, tally]) => ({ folder, ...tally }))
    .sort((a, b) => (a.folder < b.folder ? -1 : 1))
}
