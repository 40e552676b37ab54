import { join } from 'node:path'
import {
  type ContentId,
  type Context,
  CxvError,
  nearest,
  printable,
  startTask,
} from '../base/index.ts'
import { pathProblem } from '../format/index.ts'
import { lstatIfAny } from '../io/index.ts'
import type { FileToAdd, StatFacts } from '../store/types.ts'
import { openIgnoreRules, parentOf } from './ignore.ts'
import { type FoundFile, foldersOf, scanWorkTree } from './scan.ts'
import { openClashes, readStage, stageChange, unstageChange } from './stage.ts'
import { hashedChange, readStatCache, type StatCache, statChange } from './stat-cache.ts'
import type { ManifestRow, Repository } from './types.ts'
import { nameProblem, statOf } from './walk.ts'

export interface AddReport {
  /** Files looked at. */
  readonly files: number
  readonly bytes: number
  /** Newly staged: new or changed against what was tracked. */
  readonly staged: number
  /**
   * Tracked files that were staged as removed: those under the arguments that are gone from disk, and
   * those whose place a staged file takes, a folder having become a file or a file a folder.
   */
  readonly removed: number
  /** Plain bytes that were new to the store. */
  readonly newBytes: number
  readonly failed: readonly {
    readonly path: string
    readonly code: string
    readonly message: string
  }[]
  readonly skipped: readonly { readonly path: string; readonly why: string }[]
}

type CacheChange = readonly [string, Uint8Array | undefined]

/**
 * Stores and stages files, folders and patterns. A file that cannot be read is listed; the others go on.
 * Each batch is staged as its packs are durable: a killed add keeps what it has.
 * @param paths as the user gave them, relative to `cwd`
 * @throws CxvError PATH_NOT_FOUND, PATH_OUTSIDE, PATH_UNSUPPORTED for a name that cannot be tracked,
 * SYMLINK_IN_WAY, USAGE for an ignored path without `force`
 */
export async function stageFiles(
  ctx: Context,
  repo: Repository,
  cwd: string,
  paths: readonly string[],
  options: { readonly force?: boolean } = {},
): Promise<AddReport> {
  return repo.withWriteLock('add', async () => {
    const rows = new Map((await repo.stagedRows()).map((row) => [row.path, row]))
    const store = await repo.store()
    let cache: StatCache | undefined = await readStatCache(store.cache)
    const looks = createLooks(cache)
    const targets = await expandArguments(ctx, repo, cwd, paths, {
      rows,
      force: options.force === true,
      looksAt: looks.at,
    })
    const { commit } = await repo.history.head()
    const stage = await readStage(store.cache)
    const head = await repo.history.manifest(commit, { asWritten: true })
    const headIds = new Map(head.map((row) => [row.path, row]))
    const clashes = openClashes(rows)
    const report = { files: targets.files.length, bytes: 0, staged: 0, removed: 0, newBytes: 0 }
    const failed = [...targets.unfit]
    const toRead: FoundFile[] = []
    const changes: CacheChange[] = []
    const removed = new Set<string>()
    const stageRemoval = (path: string): void => {
      if (removed.has(path)) return
      removed.add(path)
      report.removed++
      changes.push(statChange(path, undefined))
      changes.push(
        headIds.has(path) ? stageChange({ path, change: 'remove' }) : unstageChange(path),
      )
    }
    const stagePut = (row: ManifestRow): void => {
      // In the batch that stages the file: killed at any time, the stage has one of the two.
      for (const path of clashes(row.path)) stageRemoval(path)
      const before = rows.get(row.path)
      if (before !== undefined && before.id === row.id && before.executable === row.executable)
        return
      report.staged++
      const was = headIds.get(row.path)
      const back = was !== undefined && was.id === row.id && was.executable === row.executable
      changes.push(
        back && stage.has(row.path)
          ? unstageChange(row.path)
          : stageChange({ path: row.path, change: 'put', row }),
      )
    }
    const fresh: { readonly file: FoundFile; readonly stat: StatFacts; readonly id: ContentId }[] =
      []
    for (const file of targets.files) {
      const { path, stat } = file
      const id = stat && cache.vouched(path, stat)
      if (id === undefined || stat === undefined) toRead.push(file)
      else fresh.push({ file, stat, id })
    }
    const lost = await store.missing(fresh.map(({ id }) => id))
    for (const { file, stat, id } of fresh) {
      if (lost.has(id)) toRead.push(file)
      else {
        report.bytes += stat.size
        stagePut({ path: file.path, id, size: stat.size, executable: stat.executable })
      }
    }
    toRead.sort((a, b) => (a.path < b.path ? -1 : 1))
    const expected = looks.sizes(toRead)
    const queue = toRead.map((file) => file.path)
    // The facts of what was scanned are let go: V8's heap grows to several times what lives in it.
    for (const list of [toRead, fresh, targets.files]) list.length = 0
    cache = undefined
    let unread = expected.reduce((sum, size) => sum + size, 0)
    const task = startTask(ctx, 'adding', 'bytes', Math.round(unread))
    const startedAt = ctx.now()
    const read = { files: 0, bytes: 0 }
    try {
      const added = store.addFiles(sourcesOf(repo.root, queue), {
        onBytes: (_files, bytes) => task.advance(bytes),
      })
      for await (const batch of added) {
        for (const file of batch) {
          if (file.status === 'failed') {
            failed.push({ path: file.path, code: file.code, message: file.message })
            continue
          }
          report.newBytes += file.newBytes
          report.bytes += file.stat.size
          read.bytes += file.stat.size
          changes.push(hashedChange(file.path, file.stat, file.id, startedAt))
          const { size, executable } = file.stat
          stagePut({ path: file.path, id: file.id, size, executable })
        }
        await store.cache.write(changes.splice(0))
        for (let i = 0; i < batch.length; i++) unread -= expected[read.files++]!
        // Guesses give way to what was found.
        task.setTotal(read.bytes + Math.round(unread))
      }
    } finally {
      task.end()
    }
    for (const path of targets.gone) stageRemoval(path)
    await store.cache.write(changes)
    return { ...report, failed, skipped: targets.skipped }
  })
}

function* sourcesOf(root: string, paths: readonly string[]): Generator<FileToAdd> {
  for (const path of paths) yield { path, absolutePath: `${root}/${path}` }
}

/**
 * So many new files are looked at for their size, and behind them every 16th: the progress then knows about how
 * much there is to read.
 */
const SIZED_FILES = 512
const SIZED_EVERY = 16

/** Which files are looked at before they are opened. */
interface Looks {
  at(path: string): boolean
  /** Bytes of each file, or what those of the sample have on average. */
  sizes(files: readonly FoundFile[]): Float64Array
}

/**
 * A file that is in no cache is opened and read whatever its facts are, which are then taken from the descriptor:
 * of 112,120 new files, `lstat` would be 0.7 s before the first is read.
 */
function createLooks(cache: StatCache): Looks {
  let met = 0
  const sample = new Set<string>()
  return {
    at(path) {
      if (cache.has(path)) return true
      const behind = met++ - SIZED_FILES
      if (behind < 0) return true
      if (behind % SIZED_EVERY !== 0) return false
      sample.add(path)
      return true
    },
    sizes(files) {
      const sampled = files.flatMap(({ path, stat }) =>
        stat !== undefined && sample.has(path) ? [stat.size] : [],
      )
      const mean = sampled.reduce((sum, size) => sum + size, 0) / Math.max(1, sampled.length)
      return Float64Array.from(files, ({ stat }) => stat?.size ?? mean)
    },
  }
}

interface Expanding {
  /** What is tracked, by path. */
  readonly rows: ReadonlyMap<string, ManifestRow>
  readonly force: boolean
  readonly looksAt: (path: string) => boolean
}

interface Targets {
  readonly files: FoundFile[]
  readonly gone: readonly string[]
  readonly skipped: readonly { readonly path: string; readonly why: string }[]
  /** Arguments of their own that are no files: in a folder or a pattern they are left out. */
  readonly unfit: AddReport['failed']
}

/** Files, folders and quoted patterns to files on disk, and tracked paths that are gone. */
async function expandArguments(
  ctx: Context,
  repo: Repository,
  cwd: string,
  given: readonly string[],
  { rows, force, looksAt }: Expanding,
): Promise<Targets> {
  const files = new Map<string, FoundFile>()
  const gone = new Set<string>()
  const skipped: { path: string; why: string }[] = []
  const unfit: AddReport['failed'][number][] = []
  const refuse = (path: string, message: string): void =>
    void unfit.push({ path, code: 'PATH_UNSUPPORTED', message })
  const tracked = new Set(rows.keys())
  const rules = await openIgnoreRules(repo.root)
  const takeFolder = async (path: string): Promise<void> => {
    const scan = await scanWorkTree(ctx, repo.root, path, { tracked, force, looksAt })
    const here = new Set<string>()
    for (const file of scan.files) {
      files.set(file.path, file)
      here.add(file.path)
    }
    for (const { path: p, why } of scan.skipped) skipped.push({ path: p, why })
    // Where a folder stands now, there is no file that only waits to be fetched.
    if (tracked.has(path)) gone.add(path)
    if ((await repo.config()).partial === true) return
    const prefix = path === '' ? '' : `${path}/`
    for (const p of tracked) if (p.startsWith(prefix) && !here.has(p)) gone.add(p)
  }
  for (const word of given) {
    const path = repo.toRepoPath(cwd, word)
    const problem = path === '' ? undefined : pathProblem(path)
    if (problem !== undefined) throw cannotBeTracked(path, problem)
    refuseLinks(repo.root, path)
    const stat = lstatIfAny(join(repo.root, path))
    if (stat?.isDirectory() === true) await takeFolder(path)
    else if (stat?.isSymbolicLink() === true) {
      refuse(path, 'a symbolic link; cxv versions files, not links')
    } else if (stat?.isFile() === true) {
      for (let folder = parentOf(path); ; folder = parentOf(folder)) {
        await rules.enter(folder)
        if (folder === '') break
      }
      if (!force && !tracked.has(path) && rules.ignores(path, false)) {
        throw new CxvError('USAGE', `${path} is ignored by .cxvignore`, {
          hint: '`cxv add --force` adds it all the same',
        })
      }
      const facts = statOf(join(repo.root, path))
      if (facts !== undefined) files.set(path, { path, stat: facts })
    } else if (tracked.has(path)) gone.add(path)
    else if ([...tracked].some((p) => p.startsWith(`${path}/`))) await takeFolder(path)
    else if (/[*?[\]{}]/.test(word)) {
      for (const match of await matchPattern(repo, path)) {
        const facts = statOf(join(repo.root, match))
        if (nameProblem(repo.root, match) !== undefined) skipped.push({ path: match, why: 'name' })
        else if (facts !== undefined) files.set(match, { path: match, stat: facts })
      }
    } else if (stat !== undefined) refuse(path, 'not a regular file')
    else {
      const undecoded = nameProblem(repo.root, path)
      throw undecoded === undefined ? noSuchPath(word, tracked) : cannotBeTracked(path, undecoded)
    }
  }
  // A file that became a folder while the arguments were gone through: one look saw each.
  for (const folder of foldersOf(files.keys())) files.delete(folder)
  return { files: [...files.values()], gone: [...gone], skipped, unfit }
}

async function matchPattern(repo: Repository, pattern: string): Promise<readonly string[]> {
  const { default: glob } = await import('fast-glob')
  const found = await glob(pattern, {
    cwd: repo.root,
    dot: true,
    followSymbolicLinks: false,
    onlyFiles: true,
    ignore: ['.cxv/**', '**/.git/**'],
  })
  const rules = await openIgnoreRules(repo.root)
  const kept: string[] = []
  for (const path of found.sort()) {
    for (let folder = parentOf(path); ; folder = parentOf(folder)) {
      await rules.enter(folder)
      if (folder === '') break
    }
    if (!rules.ignores(path, false)) kept.push(path)
  }
  if (kept.length === 0) {
    throw new CxvError('PATH_NOT_FOUND', `no file matches ${pattern}`, {
      hint: '`cxv status` shows what is here',
    })
  }
  return kept
}

/**
 * @param seen folders found to be none in this pass, which are not looked at again
 * @throws CxvError SYMLINK_IN_WAY when a folder on the way is a link: its target may lie outside
 */
export function refuseLinks(root: string, path: string, seen = new Set<string>()): void {
  if (seen.has(parentOf(path))) return
  const parts = path.split('/')
  for (let i = 1; i < parts.length; i++) {
    const folder = parts.slice(0, i).join('/')
    if (seen.has(folder)) continue
    seen.add(folder)
    if (lstatIfAny(join(root, folder))?.isSymbolicLink() === true) {
      throw new CxvError(
        'SYMLINK_IN_WAY',
        `${folder} is a symbolic link; cxv does not go through it`,
        {
          hint: 'put the files themselves into the repository',
          data: { path, link: folder },
        },
      )
    }
  }
}

const cannotBeTracked = (path: string, problem: string): CxvError =>
  new CxvError('PATH_UNSUPPORTED', `${path} cannot be tracked: it ${problem}`, {
    hint: 'rename it, or give a path of your data',
    data: { path },
  })

function noSuchPath(word: string, tracked: ReadonlySet<string>): CxvError {
  const near = nearest(word, [...tracked].slice(0, 10_000))
  return new CxvError('PATH_NOT_FOUND', `there is no ${printable(word)} here`, {
    hint: near === undefined ? '`cxv status` shows what is here' : `did you mean ${near}?`,
    data: { path: word },
  })
}
