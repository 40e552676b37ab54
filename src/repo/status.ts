import { join } from 'node:path'
import { canonicalJson, type Context, startTask } from '../base/index.ts'
import type { DatasetCommit, ManifestRow } from '../history/types.ts'
import { hashFile } from './hash.ts'
import { createPlaces } from './places.ts'
import { type ScannedFile, type WalkAhead, walkAhead, walkWorkTree } from './scan.ts'
import { applyStage, readStage } from './stage.ts'
import { decodeFacts, hashedChange, isExecutable, readRowStats, sizeOf } from './stat-cache.ts'
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
  const expected = under === '' ? head?.files : undefined
  const ahead =
    (head?.files ?? 0) >= AHEAD_FROM_FILES ? walkAhead(ctx, repo.root, under, expected) : undefined
  try {
    const { cache } = await repo.store()
    // Another process may have committed while this one waited for the index.
    if ((await repo.history.head()).commit !== commit)
      return await computeStatus(ctx, repo, options)
    const { tables, partial = false } = await repo.config()
    const tablesChanged = canonicalJson(head?.tables ?? []) !== canonicalJson(tables)
    const basis: Basis = { head, stage: await readStage(cache), partial, under }
    const status =
      ahead === undefined
        ? await compare(ctx, repo, basis, (walk) =>
            walkWorkTree(ctx, repo.root, under, { ...walk, expected }),
          )
        : await compareAhead(ctx, repo, basis, ahead)
    return { branch, commit, ...status.found, tablesChanged }
  } finally {
    await ahead?.stop()
  }
}

type Look = (walk: Parameters<typeof walkWorkTree>[3]) => ReturnType<typeof walkWorkTree>

/** What the work tree is compared with, and where. */
interface Basis {
  readonly head: DatasetCommit | undefined
  readonly stage: Awaited<ReturnType<typeof readStage>>
  /** @see RepoConfig.partial */
  readonly partial: boolean
  readonly under: string
}

interface Compared {
  readonly found: Omit<Status, 'branch' | 'commit' | 'tablesChanged'>
  /** The commit and what the walk met decide it: nothing is staged, no file was read. */
  readonly isPure: boolean
}

/** As `compare`, by a walk on another thread; and without comparing, if all is as at the last status. */
async function compareAhead(
  ctx: Context,
  repo: Repository,
  basis: Basis,
  walk: WalkAhead,
): Promise<Pick<Compared, 'found'>> {
  const { head, stage, partial, under } = basis
  const { cache } = await repo.store()
  const of =
    head === undefined || under !== '' || stage.size > 0 ? undefined : { commit: head.id, partial }
  const last = of && (await readStatusRecord(cache, of))
  if (last !== undefined && (await walk.isAs(last.walk))) {
    return { found: { staged: [], ...last.status } }
  }
  const { found, isPure } = await compare(ctx, repo, basis, (options) => walk.finish(options))
  const digests = walk.digests()
  if (of !== undefined && isPure && digests !== undefined) {
    const { unstaged, notCheckedOut, tracked, trackedBytes } = found
    const status = { unstaged, notCheckedOut, tracked, trackedBytes }
    await writeStatusRecord(cache, of, { walk: digests, status })
  }
  return { found }
}

async function compare(
  ctx: Context,
  repo: Repository,
  { head, stage, partial, under }: Basis,
  look: Look,
): Promise<Compared> {
  const store = await repo.store()
  const headRows = await repo.history.manifest(head?.id ?? null, { asWritten: true, ctx })
  const rows = applyStage(headRows, stage)
  const places = createPlaces(rows)
  const onDisk = new Uint8Array(rows.length)
  const staged = stagedAgainst(headRows, stage)
  const unstaged: { path: string; state: WorkTreeState; size: number }[] = []
  const doubtful: { file: ScannedFile; row: ManifestRow }[] = []
  const stats = await readRowStats(store.cache, rows)
  // Each file is judged as it is met: most are clean, and nothing of them is kept.
  const judge = (path: string, facts: Uint8Array, at: number): void => {
    const place = places.placeOf(path)
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
    if (partial) notCheckedOut++
    else unstaged.push({ path: row.path, state: 'deleted', size: row.size })
  }
  unstaged.sort((a, b) => (a.path < b.path ? -1 : 1))
  const trackedBytes = rows.reduce((sum, row) => sum + row.size, 0)
  const found = { staged, unstaged, notCheckedOut, tracked: rows.length, trackedBytes }
  return { found, isPure: stage.size === 0 && doubtful.length === 0 }
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
      if (id === row.id) known.push(hashedChange(file.path, file.stat, row.id, checkedAt))
      else different.push({ path: file.path, size: file.stat.size })
      task.advance(file.stat.size)
    }
  } finally {
    task.end()
  }
  await (await repo.store()).cache.write(known)
  return different
}
