import { dirname, join } from 'node:path'
import {
  canonicalJson,
  type CommitId,
  type ContentId,
  type Context,
  CxvError,
  firstOf,
  formatBytes,
  plural,
  startTask,
} from '../base/index.ts'
import {
  leavesUnder,
  lstatIfAny,
  makeFolder,
  removeEmptyFolders,
  removeHollowFolder,
  removePath,
} from '../io/index.ts'
import type { FileToMaterialise, Materialised } from '../store/types.ts'
import { refuseLinks } from './add.ts'
import { hashFile } from './hash.ts'
import { emptyStage, readStage } from './stage.ts'
import { knownAsWritten, readStatCache, type StatCache, statChange } from './stat-cache.ts'
import type {
  CheckoutPlan,
  ManifestRow,
  Repository,
  StageChange,
  TableDeclaration,
} from './types.ts'
import { factsOfStat } from './walk.ts'

export interface CheckoutOptions {
  /** Overwrite and remove files even where their bytes are in no version. */
  readonly force?: boolean
  /** Also put back files that are tracked and not on disk (after `clone --no-data`, after a loss). */
  readonly complete?: boolean
  /** Tracked rows besides `from`: unchanged, they may go by force where their folder must become a file. */
  readonly tracked?: readonly ManifestRow[]
  /** What to do about changes that would be lost, for a verb that has no --force. */
  readonly hint?: string
  /** Paths where this process has just written what `to` has: they are not looked at again. */
  readonly written?: ReadonlySet<string> | undefined
}

/**
 * Makes the work tree hold `to` where it held `from`. Files that neither version tracks are left alone.
 * Nothing is written before the whole plan is known to be safe.
 * @throws CxvError LOCAL_CHANGES, SYMLINK_IN_WAY, CHUNK_MISSING
 */
export async function checkoutRows(
  ctx: Context,
  repo: Repository,
  from: readonly ManifestRow[],
  to: readonly ManifestRow[],
  options: CheckoutOptions = {},
): Promise<CheckoutPlan> {
  const store = await repo.store()
  const done = from.length === 0 && to.every(({ path }) => options.written?.has(path))
  if (done) return { write: [], remove: [], bytes: 0 }
  const cache = await readStatCache(store.cache)
  const { hollow, ...plan } = planCheckout(ctx, repo, from, to, cache, options)
  const absent = await store.missing([...new Set(plan.write.map((row) => row.id))])
  if (absent.size > 0) {
    const paths = plan.write.filter((row) => absent.has(row.id)).map((row) => row.path)
    throw new CxvError(
      'CHUNK_MISSING',
      `${plural(paths.length, 'file')} of that version are not in this repository: ${paths.slice(0, 3).join(', ')}`,
      {
        hint: '`cxv pull` brings those of the current version, `cxv pull --recheck` those of all',
        data: { paths: paths.slice(0, 1000), count: paths.length },
      },
    )
  }
  for (const path of plan.remove) {
    removePath(join(repo.root, path))
    removeEmptyFolders(dirname(join(repo.root, path)), repo.root)
  }
  for (const path of hollow) removeHollowFolder(join(repo.root, path))
  await store.cache.write(plan.remove.map((path) => statChange(path, undefined)))
  await writeFiles(ctx, repo, plan)
  return plan
}

async function writeFiles(ctx: Context, repo: Repository, plan: CheckoutPlan): Promise<void> {
  if (plan.write.length === 0) return
  const store = await repo.store()
  makeFolders(repo, plan.write)
  const files = plan.write.map((row) => fileOf(repo, row))
  const ids = new Map(files.map((f) => [f.absolutePath, f.id]))
  const task = startTask(ctx, 'checking out', 'bytes', plan.bytes)
  try {
    for await (const batch of store.materialise(files, {
      onBytes: (_f, bytes) => task.advance(bytes),
    })) {
      await remember(repo, batch, ids)
    }
  } finally {
    task.end()
  }
}

function makeFolders(repo: Repository, rows: readonly ManifestRow[]): void {
  for (const folder of new Set(rows.map((row) => dirname(row.path)))) {
    refuseLinks(repo.root, `${folder}/x`)
    makeFolder(join(repo.root, folder))
  }
}

const fileOf = (repo: Repository, row: ManifestRow): FileToMaterialise => ({
  id: row.id,
  size: row.size,
  executable: row.executable,
  absolutePath: join(repo.root, row.path),
})

/** Into the stat cache, so that what was just written need not be hashed to know it. */
async function remember(
  repo: Repository,
  written: Materialised,
  ids: ReadonlyMap<string, ContentId>,
): Promise<void> {
  const store = await repo.store()
  await store.cache.write(
    written.map(({ absolutePath, stat }) => {
      const id = ids.get(absolutePath)
      if (id === undefined) throw new Error(`${absolutePath} was not to be written`)
      return statChange(absolutePath.slice(repo.root.length + 1), knownAsWritten(stat, id))
    }),
  )
}

/** A checkout that goes along with a fetch: files are written while the packs that bring them are at hand. */
export interface CheckoutAhead {
  /** Files of the version with this content that are not written yet. */
  take(id: ContentId): readonly FileToMaterialise[]
  wrote(written: Materialised): Promise<void>
  /** What was written so far. */
  done(): { readonly paths: ReadonlySet<string>; readonly bytes: number }
}

/**
 * For a work tree that is empty: nothing is looked at before it is written. What this leaves,
 * `checkoutCommit` with `complete` puts in place.
 */
export function beginCheckout(repo: Repository, rows: readonly ManifestRow[]): CheckoutAhead {
  makeFolders(repo, rows)
  const left = new Map<ContentId, ManifestRow | ManifestRow[]>()
  for (const row of rows) {
    const same = left.get(row.id)
    if (same === undefined) left.set(row.id, row)
    else if (Array.isArray(same)) same.push(row)
    else left.set(row.id, [same, row])
  }
  const taken = new Map<string, ContentId>()
  const done = { paths: new Set<string>(), bytes: 0 }
  return {
    take(id) {
      const found = left.get(id)
      if (found === undefined) return []
      left.delete(id)
      const files = (Array.isArray(found) ? found : [found]).map((row) => fileOf(repo, row))
      for (const { absolutePath } of files) taken.set(absolutePath, id)
      return files
    },
    async wrote(written) {
      await remember(repo, written, taken)
      for (const { absolutePath, stat } of written) {
        taken.delete(absolutePath)
        done.paths.add(absolutePath.slice(repo.root.length + 1))
        done.bytes += stat.size
      }
    },
    done: () => done,
  }
}

interface Plan extends CheckoutPlan {
  /** Folders where files must go, without a file once `remove` is done. */
  readonly hollow: readonly string[]
}

function planCheckout(
  ctx: Context,
  repo: Repository,
  from: readonly ManifestRow[],
  to: readonly ManifestRow[],
  cache: StatCache,
  options: CheckoutOptions,
): Plan {
  const before = new Map(from.map((row) => [row.path, row]))
  // Only what `from` has can be removed or stand in the way: a clone need not build it.
  const after = new Set(from.length === 0 ? [] : to.map((row) => row.path))
  const tracked = new Map((options.tracked ?? []).map((row) => [row.path, row]))
  const force = options.force === true
  const write: ManifestRow[] = []
  const remove = new Set<string>()
  const hollow: string[] = []
  const blocked = new Set<string>()
  const crowded: string[] = []
  const seen = new Set<string>()
  const look: Look = (path) => lookAt(repo, path, cache, seen)
  const fileAbove = findFileAbove(repo.root)
  for (const row of to) {
    ctx.signal.throwIfAborted()
    const was = before.get(row.path)
    const same = was !== undefined && was.id === row.id && was.executable === row.executable
    if (same && options.complete !== true && !force) continue
    if (options.written?.has(row.path) === true) continue
    const state = look(row.path)
    if (state.kind === 'file' && state.id === row.id && state.executable === row.executable)
      continue
    if (state.kind === 'absent') {
      const above = fileAbove(row.path)
      // One that `from` has and `to` lacks is judged below, as any that must go.
      const goes = above === undefined || (before.has(above) && !after.has(above))
      if (goes || force) write.push(row)
      else blocked.add(above)
      if (!goes && force) remove.add(above)
    } else if (state.kind === 'folder') {
      const inside = leavesUnder(join(repo.root, row.path)).map((name) => `${row.path}/${name}`)
      const others = inside.filter((path) => !before.has(path) || after.has(path))
      const kept = others.filter((path) => !force || !isUnchanged(tracked.get(path), look))
      if (kept.length > 0) crowded.push(...kept)
      else {
        for (const path of others) remove.add(path)
        hollow.push(row.path)
        write.push(row)
      }
    } else if (force || (was !== undefined && state.kind === 'file' && state.id === was.id)) {
      // A file that cannot be read has no id; only what `from` has may be taken for it.
      write.push(row)
    } else blocked.add(row.path)
  }
  for (const row of from) {
    if (after.has(row.path)) continue
    const state = look(row.path)
    if (state.kind === 'absent') continue
    if (state.kind === 'file' && (state.id === row.id || force)) remove.add(row.path)
    else if (state.kind !== 'folder') blocked.add(row.path)
  }
  if (crowded.length > 0) {
    throw localChanges(
      `${plural(crowded.length, 'file')} lie in a folder where a file must go: ${firstOf(crowded)}`,
      crowded,
      'move them elsewhere first; --force deletes only what is tracked and unchanged',
    )
  }
  if (blocked.size > 0) {
    const paths = [...blocked]
    throw localChanges(
      `${plural(paths.length, 'file')} here would be overwritten: ${firstOf(paths)}`,
      paths,
      options.hint ?? '`cxv add` and `cxv commit` them first, or --force to lose them',
    )
  }
  const bytes = write.reduce((sum, row) => sum + row.size, 0)
  return { write, remove: [...remove], bytes, hollow }
}

const localChanges = (message: string, paths: readonly string[], hint: string): CxvError =>
  new CxvError('LOCAL_CHANGES', message, {
    hint,
    data: { paths: paths.slice(0, 1000), count: paths.length },
  })

/** Finds the file that stands where a folder of the path must be. Each folder is looked at once. */
function findFileAbove(root: string): (path: string) => string | undefined {
  const known = new Map<string, string | undefined>([['.', undefined]])
  const fileAt = (folder: string): string | undefined => {
    if (known.has(folder)) return known.get(folder)
    let found = fileAt(dirname(folder))
    if (found === undefined && lstatIfAny(join(root, folder))?.isDirectory() === false) {
      found = folder
    }
    known.set(folder, found)
    return found
  }
  return (path) => fileAt(dirname(path))
}

type OnDisk =
  | { readonly kind: 'absent' | 'folder' | 'other' }
  | { readonly kind: 'file'; readonly id: string | undefined; readonly executable: boolean }

type Look = (path: string) => OnDisk

/** What lies at a tracked path, hashed where its stat cannot vouch for it. A link on the way is refused. */
function lookAt(repo: Repository, path: string, cache: StatCache, seen: Set<string>): OnDisk {
  refuseLinks(repo.root, path, seen)
  const absolute = join(repo.root, path)
  const stat = lstatIfAny(absolute)
  if (stat === undefined) return { kind: 'absent' }
  if (stat.isDirectory()) return { kind: 'folder' }
  if (!stat.isFile()) return { kind: 'other' }
  const facts = factsOfStat(stat)
  const id = cache.vouched(path, facts) ?? hashFile(absolute)
  return { kind: 'file', id, executable: facts.executable }
}

function isUnchanged(row: ManifestRow | undefined, look: Look): boolean {
  if (row === undefined) return false
  const state = look(row.path)
  return state.kind === 'file' && state.id === row.id
}

/**
 * Moves HEAD and the work tree to a commit: files first, then HEAD, so that doing it again finishes it.
 * What is staged comes along where both versions agree on its path; else it is refused, or forced away.
 * @param branch the branch HEAD shall name; null detaches it
 */
export async function checkoutCommit(
  ctx: Context,
  repo: Repository,
  commit: CommitId,
  options: CheckoutOptions & {
    readonly branch?: string | null
    readonly reason: string
    readonly data?: boolean
  },
): Promise<CheckoutPlan> {
  return repo.withWriteLock('checkout', async () => {
    const store = await repo.store()
    const stage = await readStage(store.cache)
    const head = await repo.history.head()
    const from = await repo.history.manifest(head.commit, { asWritten: true })
    const to = await repo.history.manifest(commit)
    const lost = stage.size === 0 || options.force === true ? [] : stagedInTheWay(stage, from, to)
    if (lost.length > 0) {
      throw localChanges(
        `${plural(lost.length, 'staged change')} would be lost: ${firstOf(lost)}`,
        lost,
        options.hint ?? '`cxv commit` them first, or --force to lose them',
      )
    }
    const kept = options.force === true ? new Map<string, StageChange>() : stage
    const tables = await tablesAfter(repo, head.commit, commit, options)
    const free = (rows: readonly ManifestRow[]): readonly ManifestRow[] =>
      kept.size === 0 ? rows : rows.filter((row) => !kept.has(row.path))
    const plan =
      options.data === false
        ? { write: [], remove: [], bytes: 0 }
        : await checkoutRows(ctx, repo, free(from), free(to), options)
    if (kept.size === 0) await emptyStage(store.cache, stage)
    await repo.updateConfig((config) => ({ ...config, tables }))
    if (options.branch === null) await repo.history.setHead(commit, options.reason)
    else if (options.branch !== undefined) {
      const at = await repo.history.ref(options.branch)
      if (at !== commit) await repo.history.casRef(options.branch, at, commit, options.reason)
      await repo.history.setHead(options.branch, options.reason)
    }
    return plan
  })
}

/**
 * The declarations of tables after a move to another version. Uncommitted ones come along where both
 * versions agree, as what is staged does.
 * @throws CxvError LOCAL_CHANGES when they would be lost
 */
async function tablesAfter(
  repo: Repository,
  head: CommitId | null,
  commit: CommitId,
  { force, hint }: CheckoutOptions,
): Promise<readonly TableDeclaration[]> {
  const { tables: now } = await repo.config()
  const was = head === null ? [] : (await repo.history.read(head)).tables
  const { tables } = await repo.history.read(commit)
  const same = (a: readonly TableDeclaration[], b: readonly TableDeclaration[]): boolean =>
    canonicalJson(a) === canonicalJson(b)
  if (force === true || same(now, was) || same(now, tables)) return tables
  if (same(was, tables)) return now
  throw localChanges(
    'table declarations that no version has would be lost',
    [],
    hint ?? '`cxv commit` them first, or --force to lose them',
  )
}

/** The staged paths on which the versions differ, or which cannot be beside a file of the other one. */
function stagedInTheWay(
  stage: ReadonlyMap<string, StageChange>,
  from: readonly ManifestRow[],
  to: readonly ManifestRow[],
): readonly string[] {
  const lost = new Set<string>()
  const pathsOf = (rows: readonly ManifestRow[]): Map<string, ManifestRow> => {
    const found = new Map<string, ManifestRow>()
    for (const row of rows) {
      if (stage.has(row.path)) found.set(row.path, row)
    }
    return found
  }
  const was = pathsOf(from)
  const is = pathsOf(to)
  const added = [...stage.keys()].filter((path) => !was.has(path))
  for (const path of stage.keys()) {
    const [a, b] = [was.get(path), is.get(path)]
    if (a?.id !== b?.id || a?.executable !== b?.executable) lost.add(path)
  }
  if (added.length > 0) {
    const files = new Set(to.map((row) => row.path))
    const folders = new Set<string>()
    for (const path of files) addParents(path, folders)
    for (const path of added) {
      const parents = addParents(path, new Set())
      if (folders.has(path) || [...parents].some((parent) => files.has(parent))) lost.add(path)
    }
  }
  return [...lost]
}

/** Adds every folder of the path that is not there yet. */
function addParents(path: string, folders: Set<string>): Set<string> {
  for (let at = dirname(path); at !== '.' && !folders.has(at); at = dirname(at)) folders.add(at)
  return folders
}

/** `1,000 files, 390.2 MiB written, 3 removed` */
export const describeCheckout = (plan: CheckoutPlan): string =>
  `${plural(plan.write.length, 'file')}, ${formatBytes(plan.bytes)} written${plan.remove.length > 0 ? `, ${plural(plan.remove.length, 'file')} removed` : ''}`
