import { type CommitId, type ContentId, type Context, isCxvError } from '../base/index.ts'
import { decodeRunContents } from '../format/index.ts'
import type { History } from '../history/types.ts'
import type { Divergence } from './types.ts'

const CONTENTS_FILE = 'contents.json'
const CONTENTS_MAX_BYTES = 16 << 20

/** Every commit that the given ones reach, themselves included, without those in `stop`. */
export async function reachable(
  ctx: Context,
  history: History,
  from: Iterable<CommitId>,
  stop: ReadonlySet<CommitId> = new Set(),
): Promise<Map<CommitId, readonly CommitId[]>> {
  const found = new Map<CommitId, readonly CommitId[]>()
  const open = [...from]
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (stop.has(id) || found.has(id)) continue
    ctx.signal.throwIfAborted()
    const facts = await history.facts(id)
    // A tag object is peeled: it and its commit are both there.
    found.set(id, facts.parents)
    if (facts.id !== id) open.push(facts.id)
    open.push(...facts.parents)
  }
  return found
}

/** Parents before children. */
export function parentsFirst(commits: ReadonlyMap<CommitId, readonly CommitId[]>): CommitId[] {
  const order: CommitId[] = []
  const done = new Set<CommitId>()
  for (const start of commits.keys()) {
    const open: { id: CommitId; parentsDone: boolean }[] = [{ id: start, parentsDone: false }]
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      if (done.has(at.id)) continue
      if (at.parentsDone) {
        done.add(at.id)
        order.push(at.id)
        continue
      }
      open.push({ id: at.id, parentsDone: true })
      for (const parent of commits.get(at.id) ?? []) {
        if (commits.has(parent) && !done.has(parent)) open.push({ id: parent, parentsDone: false })
      }
    }
  }
  return order
}

/** Whether the commit is a dataset (else: a run's record). */
export async function isDataset(history: History, id: CommitId): Promise<boolean> {
  try {
    await history.read(id)
    return true
  } catch (error) {
    if (isCxvError(error, 'REV_UNKNOWN')) return false
    throw error
  }
}

/** Contents by id, each with a name to show. */
export type Contents = Map<ContentId, string>

/**
 * What the commits bring that their first parents did not: file contents of datasets, and what run
 * records list in `contents.json`.
 */
export async function contentsOf(
  ctx: Context,
  history: History,
  commits: ReadonlyMap<CommitId, readonly CommitId[]>,
): Promise<Contents> {
  const contents: Contents = new Map()
  for (const [id, parents] of commits) {
    ctx.signal.throwIfAborted()
    if (await isDataset(history, id)) {
      for await (const change of history.diff(parents[0] ?? null, id)) {
        if (change.change !== 'removed') contents.set(change.after.id, change.path)
      }
    } else {
      for (const { id: content, name } of await recordContents(history, id)) {
        contents.set(content, name)
      }
    }
  }
  return contents
}

/** What a run's record keeps in the store: weights, plots. @throws CxvError FORMAT_INVALID */
async function recordContents(
  history: History,
  run: CommitId,
): Promise<readonly { readonly id: ContentId; readonly name: string }[]> {
  const bytes = await history.readFile(run, CONTENTS_FILE, CONTENTS_MAX_BYTES)
  if (bytes === undefined) return []
  return decodeRunContents(bytes).map(({ id, name }) => ({
    id,
    name: `${run.slice(0, 10)}:${name}`,
  }))
}

/** How the remote's commit differs from the local one; both are here. */
export async function compareCommits(
  ctx: Context,
  history: History,
  local: CommitId,
  theirs: CommitId,
): Promise<Divergence> {
  const mine = await reachable(ctx, history, [local])
  const other = await reachable(ctx, history, [theirs])
  const count = { added: 0, changed: 0, removed: 0 }
  for await (const change of history.diff(local, theirs)) count[change.change]++
  return {
    ahead: [...mine.keys()].filter((id) => !other.has(id)).length,
    behind: [...other.keys()].filter((id) => !mine.has(id)).length,
    ...count,
  }
}
