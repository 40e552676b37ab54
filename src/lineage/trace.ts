import {
  type CommitId,
  type ContentId,
  type Context,
  counting,
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

/** A version that an image question is asked of; the stage is the version at hand. */
type Ask = (version: CommitId | 'stage') => Promise<readonly AskedImage[]>

export interface TraceReport {
  /** Images that match in the version at hand; undefined when it cannot be asked. */
  readonly asked: number | undefined
  readonly runsLookedAt: number
  /** Runs that saw at least one of them, oldest first. */
  readonly hits: readonly TraceHit[]
}

/**
 * Every run that saw the images. A run saw an image when its sample list holds it by content id, or
 * when the question, asked of the run's own data commit, gives its path: so a patient who has since
 * been removed or relabelled is still found, also when the version at hand cannot be asked any more
 * (its table is gone). Runs whose own commit cannot be asked are matched by the bytes of all images
 * that any version named.
 * @throws CxvError what the version at hand throws, when no run's commit has an answer either
 */
export async function traceImages(ctx: Context, repo: Repository, ask: Ask): Promise<TraceReport> {
  const runs = await listRuns(ctx, repo)
  const lists = new Map<string, readonly PinnedSample[]>()
  const looked: { readonly run: KnownRun; readonly samples: readonly PinnedSample[] }[] = []
  for await (const run of counting(ctx, 'sample lists of runs', 'runs', runs, runs.length)) {
    ctx.signal.throwIfAborted()
    const samples = await samplesOf(ctx, repo, run, lists)
    if (samples !== undefined) looked.push({ run, samples })
  }
  const now = await tryAsk(ask, 'stage')
  const answers = new Map<CommitId, readonly AskedImage[] | CxvError>()
  for (const { run } of looked) {
    ctx.signal.throwIfAborted()
    const { commit } = run.record
    if (!answers.has(commit)) answers.set(commit, await tryAsk(ask, commit))
  }
  const given = [now, ...answers.values()].flatMap((answer) => (isCxvError(answer) ? [] : [answer]))
  if (isCxvError(now) && given.length === 0) throw now
  tellUnasked(ctx, now, answers)
  const nowIds = idsOf(isCxvError(now) ? [] : now)
  const allIds = idsOf(given.flat())
  const paths = new Map<CommitId, ReadonlySet<string>>()
  for (const [commit, answer] of answers) {
    if (!isCxvError(answer)) paths.set(commit, new Set(answer.map(({ path }) => path)))
  }
  const hits = looked.flatMap(({ run, samples }) => {
    const own = paths.get(run.record.commit)
    const seen = samples.filter((s) =>
      own === undefined ? allIds.has(s.id) : nowIds.has(s.id) || own.has(s.path),
    )
    return seen.length > 0 ? [hit(run, seen)] : []
  })
  return { asked: isCxvError(now) ? undefined : now.length, runsLookedAt: runs.length, hits }
}

const idsOf = (images: readonly AskedImage[]): ReadonlySet<ContentId> =>
  new Set(images.map((image) => image.id))

async function tryAsk(
  ask: Ask,
  version: CommitId | 'stage',
): Promise<readonly AskedImage[] | CxvError> {
  try {
    return await ask(version)
  } catch (error) {
    if (!isCxvError(error)) throw error
    return error
  }
}

/** A question can make no sense in a version: a column or table that it lacks. */
function tellUnasked(
  ctx: Context,
  now: readonly AskedImage[] | CxvError,
  answers: ReadonlyMap<CommitId, readonly AskedImage[] | CxvError>,
): void {
  if (isCxvError(now)) {
    ctx.emit({
      type: 'warn',
      code: now.code,
      message: `the version at hand cannot be asked this: ${now.message}; each run's own data is asked`,
    })
  }
  for (const [commit, answer] of answers) {
    if (!isCxvError(answer)) continue
    ctx.emit({
      type: 'warn',
      code: answer.code,
      message: `commit ${commit.slice(0, 10)} cannot be asked this: ${answer.message}; its runs are matched by image bytes alone`,
    })
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
