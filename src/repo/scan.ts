import { setImmediate } from 'node:timers/promises'
import { compareUtf8, type Context, equalBytes, startTask, type Task } from '../base/index.ts'
import { pathProblem } from '../format/index.ts'
import { startWorker, type WorkerHandle } from '../io/index.ts'
import type { StatFacts } from '../store/types.ts'
import { openIgnoreRules } from './ignore.ts'
import { decodeFacts, FACTS_BYTES } from './stat-cache.ts'
import {
  claimBatch,
  eachFile,
  lookAt,
  type Looked,
  replay,
  tellFile,
  type WalkBatch,
  walkFolder,
  type WalkMessage,
  type WalkSetup,
  type WalkSink,
} from './walk.ts'

export interface ScannedFile {
  readonly path: string
  readonly stat: StatFacts
}

/** A file whose facts were wanted has them. */
export interface FoundFile {
  readonly path: string
  readonly stat: StatFacts | undefined
}

export interface Scan {
  /** Sorted by path (UTF-8 bytes). */
  readonly files: readonly FoundFile[]
  /** Links and other things that are never tracked; of a folder with such a name, the folder alone. */
  readonly skipped: readonly {
    readonly path: string
    readonly why: 'symlink' | 'special' | 'name'
  }[]
}

export interface ScanOptions {
  /** Paths that are tracked. */
  readonly tracked: { has(path: string): boolean; keys(): Iterable<string> }
  readonly force?: boolean
  /** @see WalkRules.looksAt */
  readonly looksAt?: (path: string) => boolean
}

export interface WalkOptions extends ScanOptions {
  /** @param facts as `encodeFacts` wrote them at `at`; valid during the call */
  readonly onFile: (path: string, facts: Uint8Array, at: number) => void
  /** Told of the files that `looksAt` passes over. */
  readonly onUnseen?: (path: string) => void
  /** About how many files there are, for the progress. */
  readonly expected?: number | undefined
}

/** All that `walkWorkTree` finds, at once. */
export async function scanWorkTree(
  ctx: Context,
  root: string,
  under: string,
  options: ScanOptions,
): Promise<Scan> {
  const files: FoundFile[] = []
  const skipped = await walkWorkTree(ctx, root, under, {
    ...options,
    onFile: (path, facts, at) => void files.push({ path, stat: decodeFacts(facts, at) }),
    onUnseen: (path) => void files.push({ path, stat: undefined }),
  })
  files.sort((a, b) => compareUtf8(a.path, b.path))
  return { files, skipped }
}

/**
 * Every file under a folder that may be tracked: not ignored, or tracked already. Links are not followed.
 * @param under repository path of a folder, `` for all
 */
export async function walkWorkTree(
  ctx: Context,
  root: string,
  under: string,
  options: WalkOptions,
): Promise<Scan['skipped']> {
  const task = walkTask(ctx, options.expected)
  let met = 0
  const count = (): void => {
    // The clock is read once for so many files.
    if (++met % STEP_FILES === 0) task.advance(STEP_FILES)
  }
  try {
    const judge = createJudge(root, {
      ...options,
      onFile(path, facts, at) {
        options.onFile(path, facts, at)
        count()
      },
      onUnseen(path) {
        options.onUnseen?.(path)
        count()
      },
    })
    const { force = false, looksAt } = options
    const walking = { rules: await openIgnoreRules(root), signal: ctx.signal, force, looksAt }
    const walk = (folder: string): Promise<void> => walkFolder(root, folder, walking, judge)
    await walk(under)
    await judge.enterHidden(walk)
    return judge.skipped
  } finally {
    task.advance(met % STEP_FILES)
    task.end()
  }
}

const STEP_FILES = 256
const DIGEST_BYTES = 32

const walkTask = (ctx: Context, expected: number | undefined): Task =>
  startTask(ctx, 'looking at files', 'files', expected)

const startWalk = (setup: WalkSetup): WorkerHandle =>
  startWorker(new URL('./scan.worker.js', import.meta.url), setup)

/** A walk that goes on while its caller reads what is tracked. */
export interface WalkAhead {
  /**
   * Whether it meets just what a walk with these digests met. Answers as soon as that is known; what was met
   * is kept for `finish`.
   */
  isAs(digests: Uint8Array): Promise<boolean>
  /** As `walkWorkTree`, which it becomes where the thread fails. */
  finish(options: Omit<WalkOptions, 'force' | 'expected'>): Promise<Scan['skipped']>
  /**
   * After `finish`: what the walk met, as SHA-256 of batches, 32 bytes each. Undefined where it did not see
   * all: the thread failed, or something tracked is ignored by the rules.
   */
  digests(): Uint8Array | undefined
  /** Ends the thread; after `finish` it has ended already. */
  stop(): Promise<void>
}

/**
 * Begins a walk on a thread of its own: of 112,120 files, listing and `lstat` take 0.5 s, as long as
 * reading the manifest and the stat cache. `isAs` and `finish` take part in it.
 * @param expected about how many files there are, for the progress
 * @param start begins the thread, which sends `WalkMessage`s
 */
export function walkAhead(
  ctx: Context,
  root: string,
  under: string,
  expected?: number,
  start: (setup: WalkSetup) => WorkerHandle = startWalk,
): WalkAhead {
  const worker = start({ root, under })
  const batches: WalkBatch[] = []
  const looks: (Looked | undefined)[] = []
  let state: 'walking' | 'ended' | 'failed' = 'walking'
  let wake = (): void => undefined
  const become = (next: 'ended' | 'failed'): void => {
    if (state === 'walking') state = next
    wake()
  }
  const hasFailed = (): boolean => state === 'failed'
  /** Made before what came is looked at, so that nothing comes unnoticed in between. */
  const news = (): Promise<void> => new Promise((resolve) => (wake = resolve))
  const task = walkTask(ctx, expected)
  const keep = (place: number, looked: Looked): void => {
    looks[place] = looked
    task.advance(looked.facts.length / FACTS_BYTES)
  }
  worker.onMessage((raw) => {
    const message = raw as WalkMessage
    if (message.type === 'end') return become('ended')
    if (message.type === 'batch') batches.push(message.batch)
    else keep(message.place, message.looked)
    wake()
  })
  worker.onFailure(() => become('failed'))
  ctx.signal.addEventListener('abort', () => become('failed'), { once: true })
  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> => {
    if (stopping === undefined) task.end()
    return (stopping ??= worker.stop())
  }
  let unclaimedFrom = 0
  /** Looks at one batch that no thread has taken. @returns whether there was one */
  const help = (): boolean => {
    while (unclaimedFrom < batches.length) {
      const batch = batches[unclaimedFrom++]!
      if (!claimBatch(batch)) continue
      keep(batch.place, lookAt(root, batch))
      return true
    }
    return false
  }
  /**
   * Takes part in the walk until it has ended or failed.
   * @param onNews called for the first time with what has come by then; `false` ends the call
   */
  const takePart = async (onNews: () => boolean): Promise<void> => {
    for (;;) {
      const woken = news()
      if (!onNews() || hasFailed()) return
      // Messages are heard between any two looks.
      if (help()) await setImmediate()
      else if (state === 'walking') await woken
      else return
    }
  }
  /** Hands on what is known as it comes. @returns how many batches were told */
  const hear = async (judge: Judge): Promise<number> => {
    let place = 0
    await takePart(() => {
      for (; looks[place] !== undefined; place++) {
        replay(batches[place]!, looks[place]!, judge)
      }
      return true
    })
    return place
  }
  let sawAll = false
  return {
    async isAs(known) {
      let place = 0
      let same = true
      await takePart(() => {
        for (; same && looks[place] !== undefined; place++) {
          const before = known.subarray(place * DIGEST_BYTES, (place + 1) * DIGEST_BYTES)
          same = equalBytes(looks[place]!.digest, before)
        }
        return same
      })
      return same && !hasFailed() && place * DIGEST_BYTES === known.length
    },
    digests: () =>
      sawAll ? Buffer.concat(batches.map((_batch, i) => looks[i]!.digest)) : undefined,
    async finish(options) {
      const judge = createJudge(root, options)
      const told = await hear(judge)
      void stop()
      if (hasFailed()) {
        // A thread that failed is asked no questions: the walk on this one fails with the reason, or does not.
        const known = new Set<string>()
        for (let place = 0; place < told; place++) {
          eachFile(batches[place]!, looks[place]!, (path) => void known.add(path))
          for (const [kind, path] of batches[place]!.others) if (kind === 'file') known.add(path)
        }
        const onFile: WalkOptions['onFile'] = (path, facts, at) => {
          if (!known.has(path)) options.onFile(path, facts, at)
        }
        return walkWorkTree(ctx, root, under, { ...options, onFile })
      }
      sawAll = !judge.hidesTracked()
      if (judge.hasHiddenFolders()) {
        const rules = await openIgnoreRules(root)
        await judge.enterHidden((folder) =>
          walkFolder(root, folder, { rules, signal: ctx.signal, force: false }, judge),
        )
      }
      return judge.skipped
    },
    stop,
  }
}

interface Judge extends WalkSink {
  readonly skipped: { path: string; why: 'symlink' | 'special' | 'name' }[]
  /** Whether something tracked is ignored by the rules. */
  hidesTracked(): boolean
  hasHiddenFolders(): boolean
  /** Goes into ignored folders that hold something tracked. */
  enterHidden(walk: (folder: string) => Promise<void>): Promise<void>
}

/** Decides by what is tracked, which a walk does not know. */
function createJudge(
  root: string,
  { tracked, onFile, onUnseen }: Pick<WalkOptions, 'tracked' | 'onFile' | 'onUnseen'>,
): Judge {
  let trackedFolders: ReadonlySet<string> | undefined
  const hidden: string[] = []
  let hidesTracked = false
  const isFit = (path: string): boolean => {
    if (tracked.has(path) || pathProblem(path) === undefined) return true
    judge.skipped.push({ path, why: 'name' })
    return false
  }
  const judge: Judge = {
    skipped: [],
    hidesTracked: () => hidesTracked,
    hasHiddenFolders: () => hidden.length > 0,
    file(path, facts, at) {
      if (isFit(path)) onFile(path, facts, at)
    },
    unseen(path) {
      if (isFit(path)) onUnseen?.(path)
    },
    link: (path) => void judge.skipped.push({ path, why: 'symlink' }),
    special: (path) => void judge.skipped.push({ path, why: 'special' }),
    reserved: (path) => void judge.skipped.push({ path, why: 'name' }),
    hidden(path, kind) {
      if (kind === 'folder') {
        trackedFolders ??= foldersOf(tracked.keys())
        if (!trackedFolders.has(path)) return
        hidesTracked = true
        hidden.push(path)
        return
      }
      if (!tracked.has(path)) return
      hidesTracked = true
      if (kind === 'symlink') judge.link(path)
      else if (kind === 'other') judge.special(path)
      else tellFile(judge, root, path)
    },
    async enterHidden(walk) {
      for (let folder = hidden.pop(); folder !== undefined; folder = hidden.pop()) {
        await walk(folder)
      }
    },
  }
  return judge
}

/** Every folder that has one of the paths in it, at any depth. */
export function foldersOf(paths: Iterable<string>): ReadonlySet<string> {
  const folders = new Set<string>()
  for (const path of paths) {
    for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
      const folder = path.slice(0, slash)
      if (folders.has(folder)) break
      folders.add(folder)
    }
  }
  return folders
}
