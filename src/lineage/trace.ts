import {
  type CommitId,
  type ContentId,
  type Context,
  CxvError,
  isCxvError,
  type RunId,
} from '../base/index.ts'
import type { PinnedSample, SplitName } from '../dataset/types.ts'
import { decodeSampleList, type RunModel, type RunStatus } from '../format/index.ts'
import type { Repository } from '../repo/types.ts'
import { type KnownRun, listRuns, readRunFile } from './runs.ts'

/** An image somebody asks about, as it is in one version of the data. */
export interface AskedImage {
  readonly path: string
  readonly id: ContentId
}

export type SplitCounts = Readonly<Record<SplitName, number>>

export interface TraceHit {
  readonly run: RunId
  readonly name: string
  readonly status: RunStatus
  readonly startedAt: number
  readonly commit: CommitId
  readonly rev: string
  /** `commit` is a snapshot of a changed work tree, taken from `takenFrom`. */
  readonly snapshot: boolean
  readonly takenFrom: CommitId | null
  readonly models: readonly RunModel[]
  /** Images asked about that the run saw, by the split it saw them in. */
  readonly images: SplitCounts
  /** Patients of those images. */
  readonly patients: readonly string[]
  /** `in train`, `validation only`, `test only`, `validation and test only`. */
  readonly verdict: string
  /** Up to ten paths, as the run knew them. */
  readonly examples: readonly string[]
}

export interface TraceReport {
  /** Images that match in the version looked at now. */
  readonly asked: number
  readonly runsLookedAt: number
  /** Runs that saw at least one of them, oldest first. */
  readonly hits: readonly TraceHit[]
}

/**
 * Every run that saw the images. A run saw an image when its sample list holds it by content id, or
 * when the question, asked of the run's own data commit, gives its path: so a patient who has since
 * been removed or relabelled is still found.
 * @param now the images in the version looked at now
 * @param at the same question asked of a run's data commit
 */
export async function traceImages(
  ctx: Context,
  repo: Repository,
  now: readonly AskedImage[],
  at: (commit: CommitId) => Promise<readonly AskedImage[]>,
): Promise<TraceReport> {
  const runs = await listRuns(ctx, repo)
  const nowIds = new Set(now.map((image) => image.id))
  const atCommit = new Map<CommitId, ReadonlySet<string>>()
  const lists = new Map<string, readonly PinnedSample[]>()
  const hits: TraceHit[] = []
  for (const run of runs) {
    ctx.signal.throwIfAborted()
    const samples = await samplesOf(ctx, repo, run, lists)
    if (samples === undefined) continue
    const { commit } = run.record
    let paths = atCommit.get(commit)
    if (paths === undefined) {
      paths = new Set((await askThen(ctx, commit, at)).map((image) => image.path))
      atCommit.set(commit, paths)
    }
    const seen = samples.filter((s) => nowIds.has(s.id) || paths.has(s.path))
    if (seen.length > 0) hits.push(hit(run, seen))
  }
  return { asked: now.length, runsLookedAt: runs.length, hits }
}

/** Asks a run's own commit; a question that makes no sense there (a column it lacks) matches nothing. */
async function askThen(
  ctx: Context,
  commit: CommitId,
  at: (commit: CommitId) => Promise<readonly AskedImage[]>,
): Promise<readonly AskedImage[]> {
  try {
    return await at(commit)
  } catch (error) {
    if (!isCxvError(error)) throw error
    ctx.emit({
      type: 'warn',
      code: error.code,
      message: `commit ${commit.slice(0, 10)} cannot be asked this: ${error.message}; its runs are matched by image bytes alone`,
    })
    return []
  }
}

/** The sample list of a run. Absent or unreadable: undefined, with a warning that names the run. */
export async function samplesOf(
  ctx: Context,
  repo: Repository,
  run: KnownRun,
  lists = new Map<string, readonly PinnedSample[]>(),
): Promise<readonly PinnedSample[] | undefined> {
  const known = lists.get(run.record.sampleList)
  if (known !== undefined) return known
  try {
    const bytes = await readRunFile(repo, run, 'samples.tsv')
    if (bytes === undefined) throw new CxvError('CHUNK_MISSING', 'its sample list is not here')
    const samples = decodeSampleList(bytes, run.record.sampleList)
    lists.set(run.record.sampleList, samples)
    return samples
  } catch (error) {
    if (!isCxvError(error)) throw error
    ctx.emit({
      type: 'warn',
      code: error.code,
      message: `run ${run.record.id} cannot be looked into: ${error.message}`,
      hint: '`cxv fetch`, then ask again; until then its answer is unknown, not "no"',
    })
    return undefined
  }
}

function hit(run: KnownRun, seen: readonly PinnedSample[]): TraceHit {
  const images = { train: 0, val: 0, test: 0 }
  for (const sample of seen) images[sample.split]++
  const { record } = run
  return {
    run: record.id,
    name: record.name,
    status: record.status,
    startedAt: record.startedAt,
    commit: record.commit,
    rev: record.rev,
    snapshot: record.snapshot,
    takenFrom: run.takenFrom,
    models: record.models,
    images,
    patients: [...new Set(seen.map((s) => s.group))].sort(),
    verdict: verdict(images),
    examples: seen.slice(0, 10).map((s) => s.path),
  }
}

/** In which splits, in words. Train weighs most: the weights depend on the image. */
export function verdict(images: SplitCounts): string {
  if (images.train > 0) return 'in train'
  if (images.val > 0) return images.test > 0 ? 'validation and test only' : 'validation only'
  return 'test only'
}
