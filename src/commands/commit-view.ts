import { type CommitId, formatBytes, plural, printable } from '../base/index.ts'
import { type DatasetCommit, type History, type RefRow, shortRefName } from '../history/index.ts'
import type { TextStyle } from './types.ts'

/** A commit as `log`, `show` and `branch` give it out. */
export interface CommitView {
  readonly id: CommitId
  readonly parents: readonly CommitId[]
  readonly message: string
  readonly author: { readonly name: string; readonly email: string }
  /** ISO 8601 with the author's own zone. */
  readonly time: string
  readonly files: number
  readonly bytes: number
  readonly tables: readonly string[]
  /** `HEAD -> main`, `tag: v1`, `origin/main`. */
  readonly refs: readonly string[]
}

/** The names that stand at each commit, HEAD first, then branches, tags, remote branches. */
export async function refNames(
  history: History,
): Promise<ReadonlyMap<CommitId, readonly string[]>> {
  const names = new Map<CommitId, string[]>()
  const add = (id: CommitId, name: string): void => {
    names.set(id, [...(names.get(id) ?? []), name])
  }
  const { branch, commit } = await history.head()
  if (commit !== null) {
    add(commit, branch === null ? 'HEAD' : `HEAD -> ${shortRefName(branch)}`)
  }
  for (const { name, id } of await history.refs('refs/heads/')) {
    if (name !== branch) add(id, shortRefName(name))
  }
  for (const row of await history.refs('refs/tags/')) {
    add(await commitOf(history, row), `tag: ${shortRefName(row.name)}`)
  }
  for (const { name, id } of await history.refs('refs/remotes/')) add(id, shortRefName(name))
  return names
}

/** The commit that a tag names, by way of its tag object when it has one. */
export const commitOf = async (history: History, row: RefRow): Promise<CommitId> =>
  (await history.facts(row.id)).id

export function viewCommit(
  commit: DatasetCommit,
  names: ReadonlyMap<CommitId, readonly string[]>,
): CommitView {
  return {
    id: commit.id,
    parents: commit.parents,
    message: commit.message,
    author: commit.author,
    time: isoTime(commit.timeMs, commit.zoneMinutes),
    files: commit.files,
    bytes: commit.bytes,
    tables: commit.tables.map((table) => table.name),
    refs: names.get(commit.id) ?? [],
  }
}

/** 2026-01-31T09:30:00+01:00 */
export function isoTime(timeMs: number, zoneMinutes: number): string {
  const pad = (n: number): string => String(n).padStart(2, '0')
  const local = new Date(timeMs - zoneMinutes * 60_000).toISOString().slice(0, 19)
  const off = Math.abs(zoneMinutes)
  const zone = `${zoneMinutes > 0 ? '-' : '+'}${pad(Math.floor(off / 60))}:${pad(off % 60)}`
  return `${local}${zone}`
}

/** `2026-01-31 09:30:00 +01:00`: isoTime for people. */
const plainTime = (time: string): string =>
  `${time.slice(0, 10)} ${time.slice(11, 19)} ${time.slice(19)}`

/** First line of the message. */
export const subject = (message: string): string => printable(message.split('\n', 1)[0] ?? '')

export const shortId = (id: CommitId): string => id.slice(0, 10)

const decoration = (view: CommitView, style: TextStyle): string =>
  view.refs.length === 0 ? '' : ` ${style.green(`(${printable(view.refs.join(', '))})`)}`

export const commitLine = (view: CommitView, style: TextStyle): string =>
  `${style.yellow(shortId(view.id))}${decoration(view, style)} ${subject(view.message)}`

/** The commit as `cxv log` shows it, without the empty line that ends it. */
export function* commitLines(view: CommitView, style: TextStyle): Iterable<string> {
  yield `${style.yellow(`commit ${view.id}`)}${decoration(view, style)}`
  if (view.parents.length > 1) yield `Merge:  ${view.parents.map(shortId).join(' ')}`
  yield `Author: ${printable(`${view.author.name} <${view.author.email}>`)}`
  yield `Date:   ${plainTime(view.time)}`
  const tables = view.tables.length === 0 ? '' : `, ${plural(view.tables.length, 'table')}`
  yield `Data:   ${plural(view.files, 'file')}, ${formatBytes(view.bytes)}${printable(tables)}`
  yield ''
  for (const line of view.message.split('\n')) yield `    ${printable(line)}`.trimEnd()
}
