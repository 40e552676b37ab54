import { join } from 'node:path'
import { type ContentId, CxvError, isCxvError, type Json, type RunId, utf8 } from '../base/index.ts'
import { openTrainingData } from '../dataset/index.ts'
import type { PinnedSample } from '../dataset/types.ts'
import type { RunContent, RunRecord } from '../format/index.ts'
import type { TrainConfig } from '../format/types.ts'
import { namesIn, readFileIfAny, removePath } from '../io/index.ts'
import { type LiveRun, lossSvg, rocSvg, sealRun, svgToPng } from '../lineage/index.ts'
import type { Repository } from '../repo/types.ts'
import type {
  Engine,
  Evaluation,
  LogRow,
  SplitFigures,
  TrainPorts,
  TrainResult,
} from '../train/index.ts'
import { predictionsCsv } from './run-predictions.ts'
import type { CommandContext } from './types.ts'

export interface Execution {
  readonly config: TrainConfig
  readonly labels: readonly string[]
  readonly samples: readonly PinnedSample[]
  readonly engine: Engine
  readonly resume: boolean
}

export interface RunOutcome {
  readonly run: RunId
  readonly name: string
  readonly status: 'finished'
  readonly commit: string
  readonly sealed: string
  readonly engine: RunRecord['engine']
  readonly epochs: number
  readonly stopped: string
  readonly imagesPerSecond: number
  readonly metrics: { readonly val: FiguresJson; readonly test: FiguresJson }
  readonly model: ContentId
  readonly folder: string
  readonly rocPicture: string
  readonly seconds: number
}

/** Figures without the points of the curves: those are in roc.svg and predictions.csv. */
export type FiguresJson = Omit<SplitFigures, 'labels'> & {
  readonly labels: readonly Omit<SplitFigures['labels'][number], 'roc'>[]
}

const PICTURE_WIDTH = 1200
const MAX_CHECKPOINT_BYTES = 2 ** 31

/**
 * Trains on the pin of a live run, evaluates, draws, stores the weights and seals the record. Holds
 * neither lock nor index while it trains.
 * @throws what training throws, after the live record says how it ended
 */
export async function executeRun(
  ctx: CommandContext,
  repo: Repository,
  live: LiveRun,
  execution: Execution,
): Promise<RunOutcome> {
  const startedAt = ctx.now()
  try {
    const result = await trainOn(ctx, repo, live, execution)
    return await finish(ctx, repo, live, result, startedAt)
  } catch (error) {
    const interrupted = isCxvError(error, 'INTERRUPTED') || ctx.signal.aborted
    live.update({
      status: interrupted ? 'interrupted' : 'failed',
      endedAt: ctx.now(),
      reason: error instanceof Error ? error.message : String(error),
    })
    if (interrupted) {
      throw new CxvError(
        'INTERRUPTED',
        `run ${live.id} was interrupted; its last checkpoint is kept`,
        {
          hint: `cxv run --resume ${live.id}`,
          data: { run: live.id },
          cause: error,
        },
      )
    }
    throw error
  } finally {
    live.close()
    await execution.engine.close()
  }
}

async function trainOn(
  ctx: CommandContext,
  repo: Repository,
  live: LiveRun,
  { config, labels, samples, engine, resume }: Execution,
): Promise<TrainResult> {
  const reader = await (await repo.store()).pinnedReader([...new Set(samples.map((s) => s.id))])
  // From here on other processes can add, commit and pull.
  await repo.releaseStore()
  const { train } = await import('../train/index.ts')
  try {
    const data = await openTrainingData(ctx, {
      task: config.task,
      labels,
      samples,
      where: config.data.where,
      image: config.image,
      balance: config.balance,
      augment: config.augment,
      batchSize: config.train.batch,
      seed: config.seed,
      reader,
      cacheFolder: join(repo.folder, 'cache'),
    })
    return await train(ctx, {
      settings: config,
      data,
      engine,
      ports: portsOf(live, config.checkpoint.keepLast),
      identity: live.record().sampleList,
      resume,
    })
  } finally {
    await reader.close()
  }
}

function portsOf(live: LiveRun, keepLast: number): TrainPorts {
  const folder = join(live.folder, 'checkpoints')
  const kept = (): string[] =>
    namesIn(folder)
      .filter((name) => name.endsWith('.ckpt'))
      .sort()
  return {
    saveCheckpoint(name, bytes) {
      live.write(`checkpoints/${name}.ckpt`, bytes)
      for (const old of kept().slice(0, -keepLast)) removePath(join(folder, old))
      return Promise.resolve()
    },
    async *loadCheckpoints() {
      for (const name of kept().reverse()) {
        const bytes = await readFileIfAny(join(folder, name), MAX_CHECKPOINT_BYTES)
        if (bytes !== undefined) yield bytes
      }
    },
    log(row: LogRow) {
      live.logMetrics({ ...row })
      return Promise.resolve()
    },
  }
}

const withoutCurves = (figures: SplitFigures): FiguresJson => ({
  ...figures,
  labels: figures.labels.map(({ roc: _roc, ...rest }) => rest),
})

async function finish(
  ctx: CommandContext,
  repo: Repository,
  live: LiveRun,
  result: TrainResult,
  startedAt: number,
): Promise<RunOutcome> {
  const { evaluation } = result
  const metrics = { val: withoutCurves(evaluation.val), test: withoutCurves(evaluation.test) }
  const record = live.record()
  await draw(live, evaluation, result)
  const samples = await live.read('samples.tsv')
  if (samples !== undefined)
    live.write('predictions.csv', predictionsCsv(samples, result, record.sampleList))
  live.write('model-best.safetensors', result.best.bytes)
  live.write('model-last.safetensors', result.last.bytes)
  const store = await repo.store()
  const contents: RunContent[] = []
  const keep = async (name: string): Promise<RunContent | undefined> => {
    const bytes = await live.read(name)
    if (bytes === undefined) return undefined
    const content = { id: await store.put(bytes), name, size: bytes.length }
    contents.push(content)
    return content
  }
  const best = await keep('model-best.safetensors')
  const last = await keep('model-last.safetensors')
  for (const name of ['roc.png', 'loss.png', 'predictions.csv', 'code.patch']) await keep(name)
  if (best === undefined || last === undefined) throw new Error('the weights were just written')
  const why =
    result.stopped === 'patience'
      ? `stopped early after epoch ${result.epochs}; best was epoch ${result.best.epoch}`
      : `all ${result.epochs} epochs; best was epoch ${result.best.epoch}`
  const finished: Partial<RunRecord> = {
    status: 'finished',
    endedAt: ctx.now(),
    reason: why,
    metrics: JSON.parse(JSON.stringify(metrics)) as Json,
    models: [
      { name: 'best', id: best.id, bytes: best.size, format: 'safetensors' },
      { name: 'last', id: last.id, bytes: last.size, format: 'safetensors' },
    ],
  }
  // The folder says "finished" only once the run is sealed: stopped in between, it can be resumed.
  const sealed = await sealRun(
    ctx,
    repo,
    { ...live, record: () => ({ ...record, ...finished }) },
    contents,
  )
  live.update(finished)
  return {
    run: live.id,
    name: record.name,
    status: 'finished',
    commit: record.commit,
    sealed,
    engine: record.engine,
    epochs: result.epochs,
    stopped: why,
    imagesPerSecond: result.imagesPerSecond,
    metrics,
    model: best.id,
    folder: live.folder,
    rocPicture: join(live.folder, 'roc.png'),
    seconds: (ctx.now() - startedAt) / 1000,
  }
}

async function draw(live: LiveRun, evaluation: Evaluation, result: TrainResult): Promise<void> {
  const { name, id, engine } = live.record()
  const { test } = evaluation
  const roc = rocSvg({
    title: `${name}: ROC on the test split`,
    subtitle: `run ${id}, ${engine.name}`,
    data: { split: 'test', images: test.samples, patients: test.groups },
    curves: test.labels.map((label) => ({
      label: label.label,
      auroc: label.auroc,
      interval: label.aurocInterval,
      points: label.roc.fpr.map((fpr, i) => [fpr, label.roc.tpr[i] ?? 0] as const),
    })),
  })
  const loss = lossSvg({ title: `${name}: loss`, subtitle: `run ${id}`, rows: result.history })
  live.write('roc.svg', utf8(roc))
  live.write('loss.svg', utf8(loss))
  live.write('roc.png', await svgToPng(roc, PICTURE_WIDTH))
  live.write('loss.png', await svgToPng(loss, PICTURE_WIDTH))
}
