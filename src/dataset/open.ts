import {
  type Context,
  type ContentId,
  CxvError,
  plural,
  shellQuoted,
  startTask,
} from '../base/index.ts'
import type { AugmentConfig, BalanceConfig, ImageConfig } from '../format/types.ts'
import type { ContentReader } from '../store/types.ts'
import { classFunctions } from './augment.ts'
import { createBatchSource, minorityClasses } from './batches.ts'
import { openDecodedCache } from './cache.ts'
import { openDecoder } from './decode.ts'
import type { BatchSource, PinnedSample, SplitName, Task, TrainingData } from './types.ts'

export interface OpenDataOptions {
  readonly task: Task
  readonly labels: readonly string[]
  readonly samples: readonly PinnedSample[]
  /** The cohort's own predicate, for the hint that leaves broken images out of it. */
  readonly where: string
  readonly image: ImageConfig
  readonly balance: BalanceConfig
  readonly augment: AugmentConfig
  readonly batchSize: number
  readonly seed: number
  /** Holds no lock and no index: training may take days. */
  readonly reader: ContentReader
  /** `.cxv/cache` */
  readonly cacheFolder: string
}

/** Decoded images are kept in memory: at 224 px, 112,120 of them are 5.6 GB. Larger sets are refused with a hint. */
const MAX_MEMORY_BYTES = 12 * 2 ** 30
const SEGMENT_BYTES = 64 << 20
/** sharp decodes on libuv's threads: a few more in flight than there are threads keeps them busy. */
const IN_FLIGHT = 8
const MAX_IMAGE_BYTES = 256 << 20
/** Images that a message names. */
const MAX_SHOWN = 20

/**
 * Opens the images of a pin for training: decodes what the cache lacks, in pack order, and serves
 * batches of the three splits.
 * @throws CxvError IMAGE_UNREADABLE listing every image that cannot be decoded
 */
export async function openTrainingData(
  ctx: Context,
  options: OpenDataOptions,
): Promise<TrainingData> {
  const { samples, image } = options
  const ids = new Set(samples.map((s) => s.id))
  const [height, width] = image.size
  const bytes = ids.size * height * width * image.channels
  if (bytes > MAX_MEMORY_BYTES) {
    throw new CxvError(
      'TOO_LARGE',
      `${plural(ids.size, 'decoded image')} at ${height} x ${width} need ${Math.round(bytes / 2 ** 30)} GiB of memory`,
      {
        hint: 'a smaller image.size, or data.limit',
      },
    )
  }
  const decoded = await decodeAll(ctx, options, ids)
  const sourceOf = (split: SplitName): BatchSource => {
    const members = samples.filter((s) => s.split === split)
    return createBatchSource({
      split,
      task: options.task,
      labels: options.labels,
      samples: members,
      image,
      batchSize: options.batchSize,
      seed: options.seed,
      pixels: (index) => {
        const pixels = decoded.get(members[index]!.id)
        if (pixels === undefined) throw new Error(`image ${index} of ${split} was not decoded`)
        return pixels
      },
      ...(split === 'train'
        ? { training: { balance: options.balance, augment: options.augment } }
        : {}),
    })
  }
  return {
    task: options.task,
    labels: options.labels,
    train: sourceOf('train'),
    val: sourceOf('val'),
    test: sourceOf('test'),
  }
}

async function decodeAll(
  ctx: Context,
  { samples, where, image, reader, cacheFolder }: OpenDataOptions,
  ids: ReadonlySet<ContentId>,
): Promise<ReadonlyMap<ContentId, Uint8Array>> {
  const cache = openDecodedCache(cacheFolder, image)
  const decoded = await cache.load(ids)
  const todo = [...ids].filter((id) => !decoded.has(id))
  if (todo.length === 0) return decoded
  const decode = await openDecoder(image)
  const broken = new Map<ContentId, string>()
  let segment = new Map<ContentId, Uint8Array>()
  let segmentBytes = 0
  const task = startTask(ctx, 'decoding', 'images', todo.length)
  const flush = (): void => {
    cache.save(segment)
    segment = new Map()
    segmentBytes = 0
  }
  const one = async (id: ContentId, bytes: Uint8Array): Promise<void> => {
    try {
      if (bytes.length > MAX_IMAGE_BYTES) throw new Error('the file is too large for an image')
      const pixels = await decode(bytes)
      decoded.set(id, pixels)
      segment.set(id, pixels)
      segmentBytes += pixels.length
    } catch (error) {
      broken.set(id, error instanceof Error ? error.message : String(error))
    }
    task.advance(1, bytes.length)
  }
  try {
    const running = new Set<Promise<void>>()
    for await (const [id, bytes] of reader.readMany(todo)) {
      ctx.signal.throwIfAborted()
      const job: Promise<void> = one(id, bytes).finally(() => running.delete(job))
      running.add(job)
      if (running.size >= IN_FLIGHT) await Promise.race(running)
      if (segmentBytes >= SEGMENT_BYTES) flush()
    }
    await Promise.all(running)
    flush()
  } finally {
    task.end()
  }
  if (broken.size > 0) throw unreadable(samples, where, broken)
  return decoded
}

function unreadable(
  samples: readonly PinnedSample[],
  where: string,
  broken: ReadonlyMap<ContentId, string>,
): CxvError {
  const bad = samples.flatMap((s) => {
    const why = broken.get(s.id)
    return why === undefined ? [] : [{ path: s.path, why: why.split('\n')[0] ?? '' }]
  })
  const shown = bad.slice(0, MAX_SHOWN).map(({ path, why }) => `${path} (${why})`)
  const names = [...new Set(bad.map(({ path }) => path.split('/').at(-1) ?? ''))]
  const without = `name not in (${names.map((name) => `'${name.replaceAll("'", "''")}'`).join(', ')})`
  // A set lays over what the file says, so the cohort's own predicate goes along.
  const cohort = where.trim() === '' ? without : `(${where.trim()}) and ${without}`
  const leaveOut =
    bad.length > MAX_SHOWN
      ? 'data.where leaves images out'
      : `to leave them out: --set ${shellQuoted(`data.where=${cohort}`)}`
  return new CxvError(
    'IMAGE_UNREADABLE',
    `${plural(bad.length, 'image')} cannot be decoded: ${shown.join('; ')}${bad.length > MAX_SHOWN ? '; ...' : ''}`,
    {
      hint: `replace them, \`cxv add\` and commit; or ${leaveOut}`,
      data: { images: bad },
    },
  )
}

/** The functions each minority class goes through, for the run record. */
export function describeAugmentation(
  options: Pick<OpenDataOptions, 'task' | 'labels' | 'samples' | 'augment' | 'seed'>,
): Readonly<Record<string, unknown>> {
  const { augment, seed, task, labels } = options
  if (augment.applyTo !== 'minority') return { applyTo: augment.applyTo }
  const samples = options.samples.filter((s) => s.split === 'train')
  const classes = minorityClasses({ task, labels, samples }, augment)
  const facts = ({ label, members }: (typeof classes)[number]): unknown => ({
    images: members.length,
    functions: classFunctions(augment, seed, label),
  })
  const none = classes.find(({ label }) => label === null)
  return {
    applyTo: 'minority',
    classes: Object.fromEntries(
      classes.flatMap((c) => (c.label === null ? [] : [[c.label, facts(c)]])),
    ),
    ...(none === undefined ? {} : { none: facts(none) }),
  }
}
