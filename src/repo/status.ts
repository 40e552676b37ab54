import { join } from 'node:path'
import { canonicalJson, type Context, startTask } from '../base/index.ts'
import type { DatasetCommit, ManifestRow } from '../history/types.ts'
import { hashFile } from './hash.ts'
import { type ScannedFile, walkAhead, walkWorkTree } from './scan.ts'
import { applyStage, readStage } from './stage.ts'
import { decodeFacts, isExecutable, readRowStats, sizeOf, statChange } from './stat-cache.ts'
import { readStatusRecord, writeStatusRecord } from './status-record.ts'
import type { Repository, Status, WorkTreeState } from './types.ts'

/** With this many tracked files a thread looks at the work tree while this one reads what is tracked. */
const AHEAD_FROM_FILES = 16_384

/**
 * Stage against HEAD, and work tree against stage. Files whose stat does not vouch for them are hashed and
 * remembered.
 * @param options.under repository path to look under, `` for all
 */
export async function computeStatus(
  ctx: Context,
  repo: Repository,
  options: { readonly under?: string } = {},
): Promise<Status> {
  const { branch, commit } = await repo.history.head()
  const head = commit === null ? undefined : await repo.history.read(commit)
  const under = options.under ?? ''
  const { tables } = await repo.config()
  const tablesChanged = canonicalJson(head?.tables ?? []) !== canonicalJson(tables)
  const status =
    head !== undefined && head.files >= AHEAD_FROM_FILES
      ? await compareAhead(ctx, repo, head, under)
      : (await compare(ctx, repo, { head, under, look: lookHere(ctx, repo, head, under) })).status
  // Another process may have committed while this one waited for the index.
  if ((await repo.history.head()).commit !== commit) return computeStatus(ctx, repo, options)
  return { branch, commit, ...status, tablesChanged }
}

type Look = (walk: Parameters<typeof walkWorkTree>[3]) => ReturnType<typeof walkWorkTree>

const expectedFiles = (head: DatasetCommit | undefined, under: string): number | undefined =>
  under === '' ? head?.files : undefined

const lookHere =
  (ctx: Context, repo: Repository, head: DatasetCommit | undefined, under: string): Look =>
  (walk) =>
    walkWorkTree(ctx, repo.root, under, { ...walk, expected: expectedFiles(head, under) })

type Differences = Omit<Status, 'branch' | 'commit' | 'tablesChanged'>

/** As `compare`, while a thread walks; and without comparing, if all is as at the last status. */
async function compareAhead(
  ctx: Context,
  repo: Repository,
  head: DatasetCommit,
  under: string,
): Promise<Differences> {
  const walk = walkAhead(ctx, repo.root, under, expectedFiles(head, under))
  try {
    const { cache } = await repo.store()
    const { partial = false } = await repo.config()
    const of = { commit: head.id, partial }
    const recordable = under === '' && (await readStage(cache)).size === 0
    const last = recordable ? await readStatusRecord(cache, of) : undefined
    if (last !== undefined && (await walk.isAs(last.walk))) return { staged: [], ...last.status }
    const look: Look = (options) => walk.finish(options)
    const { status, isPure } = await compare(ctx, repo, { head, under, look })
    const digests = walk.digests()
    if (recordable && isPure && digests !== undefined) {
      const { unstaged, notCheckedOut, tracked, trackedBytes } = status
      const found = { unstaged, notCheckedOut, tracked, trackedBytes }
      await writeStatusRecord(cache, of, { walk: digests, status: found })
    }
    return status
  } finally {
    await walk.stop()
  }
}

/** @returns also whether the commit and what the walk met decide it: nothing is staged, no file was read */
async function compare(
  ctx: Context,
  repo: Repository,
  {
    head,
    under,
    look,
  }: { readonly head: DatasetCommit | undefined; readonly under: string; readonly look: Look },
): Promise<{ readonly status: Differences; readonly isPure: boolean }> {
  const store = await repo.store()
  const headRows = await repo.history.manifest(head?.id ?? null, { asWritten: true, ctx })
  const stage = await readStage(store.cache)
  const rows = applyStage(headRows, stage)
  const places = new Map<string, number>()
  for (const [place, row] of rows.entries()) places.set(row.path, place)
  const onDisk = new Uint8Array(rows.length)
  const config = await repo.config()
  const staged = stagedAgainst(headRows, stage)
  const unstaged: { path: string; state: WorkTreeState; size: number }[] = []
  const doubtful: { file: ScannedFile; row: ManifestRow }[] = []
  const stats = await readRowStats(store.cache, rows)
  // Each file is judged as it is met: most are clean, and nothing of them is kept.
  const judge = (path: string, facts: Uint8Array, at: number): void => {
    const place = places.get(path)
    const row = place === undefined ? undefined : rows[place]
    const size = sizeOf(facts, at)
    if (place === undefined || row === undefined) {
      unstaged.push({ path, state: 'untracked', size })
      return
    }
    onDisk[place] = 1
    if (size !== row.size || isExecutable(facts, at) !== row.executable) {
      unstaged.push({ path, state: 'modified', size })
      return
    }
    const id = stats.vouched(place, facts, at)
    if (id === undefined) doubtful.push({ file: { path, stat: decodeFacts(facts, at) }, row })
    else if (id !== row.id) unstaged.push({ path, state: 'modified', size })
  }
  await look({ tracked: places, onFile: judge })
  for (const { path, size } of await differing(ctx, repo, doubtful)) {
    unstaged.push({ path, state: 'modified', size })
  }
  let notCheckedOut = 0
  const inScope = (path: string): boolean =>
    under === '' || path === under || path.startsWith(`${under}/`)
  for (const [place, row] of rows.entries()) {
    if (onDisk[place] === 1 || !inScope(row.path)) continue
    if (config.partial === true) notCheckedOut++
    else unstaged.push({ path: row.path, state: 'deleted', size: row.size })
  }
  unstaged.sort((a, b) => (a.path < b.path ? -1 : 1))
  const trackedBytes = rows.reduce((sum, row) => sum + row.size, 0)
  const status = { staged, unstaged, notCheckedOut, tracked: rows.length, trackedBytes }
  return { status, isPure: stage.size === 0 && doubtful.length === 0 }
}

function stagedAgainst(
  headRows: readonly ManifestRow[],
  stage: Awaited<ReturnType<typeof readStage>>,
): Status['staged'] {
  if (stage.size === 0) return []
  const head = new Map(headRows.filter((row) => stage.has(row.path)).map((row) => [row.path, row]))
  return [...stage.values()].flatMap((change): Status['staged'] => {
    const before = head.get(change.path)
    if (change.change === 'remove') {
      return before === undefined
        ? []
        : [{ path: change.path, change: 'removed' as const, size: before.size }]
    }
    const { row } = change
    if (before === undefined) return [{ path: row.path, change: 'added' as const, size: row.size }]
    const same = before.id === row.id && before.executable === row.executable
    return same ? [] : [{ path: row.path, change: 'changed' as const, size: row.size }]
  })
}

/**
 * Hashes files whose stat cannot vouch for them and remembers those that are as tracked.
 * @returns the ones whose bytes differ from their row
 */
async function differing(
  ctx: Context,
  repo: Repository,
  doubtful: readonly { readonly file: ScannedFile; readonly row: ManifestRow }[],
): Promise<readonly { readonly path: string; readonly size: number }[]> {
  if (doubtful.length === 0) return []
  const different: { path: string; size: number }[] = []
  const known: (readonly [string, Uint8Array | undefined])[] = []
  const total = doubtful.reduce((sum, d) => sum + d.file.stat.size, 0)
  const task = startTask(ctx, 'checking files', 'bytes', total)
  try {
    for (const { file, row } of doubtful) {
      ctx.signal.throwIfAborted()
      const checkedAt = ctx.now()
      const id = hashFile(join(repo.root, file.path))
      if (id === row.id) known.push(statChange(file.path, { ...file.stat, id: row.id, checkedAt }))
      else different.push({ path: file.path, size: file.stat.size })
      task.advance(file.stat.size)
    }
  } finally {
    task.end()
  }
  await (await repo.store()).cache.write(known)
  return different
}
