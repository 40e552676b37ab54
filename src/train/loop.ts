import {
  CxvError,
  formatCount,
  isCxvError,
  startTask,
  type Context,
  type Task,
} from '../base/index.ts'
import type { Batch, TrainingData } from '../dataset/types.ts'
import {
  assertSameRun,
  type Checkpoint,
  type Cursor,
  decodeCheckpoint,
  encodeCheckpoint,
} from './checkpoint.ts'
import { evaluate } from './evaluate.ts'
import { epochMetrics, isBetter, isExhausted } from './epoch.ts'
import { initialise, type Model } from './layers.ts'
import { createLoss, isCategorical, positiveWeights, targetsOf } from './losses.ts'
import { initialOptimizerState, learningRate, optimizerFeed } from './optimizer.ts'
import { interrupted, predictSplit, turn } from './predict.ts'
import type { Evaluation, Predictions } from './report.ts'
import { createModel, createPredictStep, createTrainStep, dropoutMask } from './step.ts'
import type {
  CompiledStep,
  Engine,
  HistoryRow,
  HostTensors,
  TrainPorts,
  TrainSettings,
} from './types.ts'
import { encodeWeights } from './weights.ts'

export interface TrainRequest {
  readonly settings: TrainSettings
  readonly data: TrainingData
  readonly engine: Engine
  readonly ports: TrainPorts
  /** What else must not change on resume: the sample list's id. */
  readonly identity: string
  /** Go on from the newest of `ports.loadCheckpoints()` that can be read; without any, start. */
  readonly resume?: boolean
}

export interface TrainedWeights {
  /** @see docs/format.md#checkpoints-and-model-weights */
  readonly bytes: Uint8Array
  /** Counted from 1. */
  readonly epoch: number
}

export interface TrainResult {
  /** By the early stop's monitor; the last weights when it is `none`. */
  readonly best: TrainedWeights
  readonly last: TrainedWeights
  readonly history: readonly HistoryRow[]
  /** Epochs done, resumed ones included. */
  readonly epochs: number
  readonly steps: number
  /** `patience`: the early stop's. */
  readonly stopped: 'epochs' | 'patience'
  readonly resumedFrom: { readonly epoch: number; readonly step: number } | null
  /** Numbers that are trained. */
  readonly parameters: number
  /** Weight of a positive, one a label. */
  readonly posWeight: readonly number[]
  /** Trained images of this session by the seconds it trained, reading them included. */
  readonly imagesPerSecond: number
  /** Of the best weights. */
  readonly predictions: Predictions
  readonly evaluation: Evaluation
}

/** What stays the same through a run. */
interface Session {
  readonly ctx: Context
  readonly request: TrainRequest
  readonly config: Readonly<Record<string, unknown>>
  readonly model: Model
  readonly posWeight: readonly number[]
  readonly trainer: CompiledStep
  readonly predictor: CompiledStep
  readonly progress: Task
  readonly clock: { images: number; ms: number }
}

/** What moves. */
interface Position {
  cursor: Cursor
  best: HostTensors | undefined
}

const isModelArray = (name: string): boolean => !name.startsWith('opt/')

const START: Cursor = {
  epoch: 0,
  batch: 0,
  step: 0,
  lossSum: 0,
  lossKnown: 0,
  best: null,
  waited: 0,
  history: [],
}

/**
 * Trains, keeps the best weights, and evaluates them. The same settings, data and engine give the same
 * bytes, in one go or resumed at any step.
 * @throws {INTERRUPTED} on ctx.signal, after a checkpoint was saved
 * @throws {TRAINING_DIVERGED} a loss or gradient that is not finite
 * @throws {RUN_MISMATCH} resumed with other settings, data or engine
 * @throws {CHECKPOINT_INVALID} every checkpoint is damaged
 */
export async function train(ctx: Context, request: TrainRequest): Promise<TrainResult> {
  const { settings, data, engine } = request
  const labels = data.labels.length
  const model = createModel(settings.model.arch, data.train.xShape, labels)
  const posWeight = positiveWeights(settings, labels, data.train.y)
  if (posWeight.length !== labels) {
    throw new CxvError(
      'TRAIN_CONFIG_INVALID',
      `loss.pos_weight has ${posWeight.length} numbers for ${labels} labels`,
    )
  }
  const config = runConfig(request)
  const start = initialise(model.parameters, settings.seed)
  const resumed = request.resume === true ? await load(ctx, request, config) : undefined
  const position: Position = { cursor: resumed?.cursor ?? START, best: resumed?.best }
  const step = createTrainStep(model, createLoss(settings, posWeight), settings.optimizer)
  const trainer = engine.compile(step, {
    ...start,
    ...initialOptimizerState(settings.optimizer, model.parameters),
  })
  const predictor = engine.compile(createPredictStep(model), start)
  const left = settings.train.epochs * data.train.size - position.cursor.step * settings.train.batch
  const progress = startTask(ctx, 'train', 'images', Math.max(0, left))
  const clock = { images: 0, ms: 0 }
  const session: Session = {
    ctx,
    request,
    config,
    model,
    posWeight,
    trainer,
    predictor,
    progress,
    clock,
  }
  try {
    if (resumed !== undefined) await restore(trainer, resumed.state)
    await trainAll(session, position)
    progress.end()
    return await finish(session, position, resumed?.cursor)
  } catch (error) {
    progress.end()
    throw error
  } finally {
    trainer.dispose()
    predictor.dispose()
  }
}

/** All that decides the result, by name. Only these names are compared on resume. */
function runConfig({ settings, data, identity }: TrainRequest): Readonly<Record<string, unknown>> {
  const { task, model, loss, optimizer, schedule, train, earlyStop, seed } = settings
  const { xShape, size, steps, batchSize } = data.train
  return {
    task,
    model,
    loss,
    optimizer,
    schedule,
    train,
    earlyStop,
    seed,
    labels: data.labels,
    data: { identity, xShape, size, steps, batchSize },
  }
}

async function load(
  ctx: Context,
  request: TrainRequest,
  config: Readonly<Record<string, unknown>>,
): Promise<Checkpoint | undefined> {
  let damage: CxvError | undefined
  for await (const bytes of request.ports.loadCheckpoints()) {
    let checkpoint: Checkpoint
    try {
      checkpoint = decodeCheckpoint(bytes)
    } catch (error) {
      if (!isCxvError(error, 'CHECKPOINT_INVALID')) throw error
      damage = error
      const message = `${error.message}; trying the one before it`
      ctx.emit({ type: 'warn', code: error.code, message })
      continue
    }
    assertSameRun(checkpoint, config, request.engine.name)
    return checkpoint
  }
  if (damage !== undefined) throw damage
  return undefined
}

async function restore(trainer: CompiledStep, state: HostTensors): Promise<void> {
  try {
    await trainer.write(state)
  } catch (cause) {
    throw new CxvError('CHECKPOINT_INVALID', 'the checkpoint is of another model', { cause })
  }
}

async function trainAll(session: Session, position: Position): Promise<void> {
  const { ctx, request } = session
  const { settings } = request
  while (position.cursor.epoch < settings.train.epochs && !isExhausted(settings, position.cursor)) {
    const started = ctx.now()
    try {
      await trainEpoch(session, position)
      await endEpoch(session, position, started)
    } catch (error) {
      if (!ctx.signal.aborted || isCxvError(error, 'TRAINING_DIVERGED')) throw error
      // Whatever failed, it failed between two steps: the position is whole.
      await save(session, position)
      throw stopped(position.cursor, error)
    }
    const { epoch } = position.cursor
    const last = epoch === settings.train.epochs || isExhausted(settings, position.cursor)
    if (last || epoch % settings.checkpoint.everyEpochs === 0) await save(session, position)
  }
}

function stopped({ epoch, step }: Cursor, cause: unknown): CxvError {
  const message = `training was interrupted in epoch ${epoch + 1}, after step ${step}; a checkpoint was saved`
  return new CxvError('INTERRUPTED', message, {
    hint: 'cxv run --resume goes on from there',
    data: { epoch: epoch + 1, step },
    ...(isCxvError(cause, 'INTERRUPTED') ? {} : { cause }),
  })
}

async function trainEpoch({ ctx, ...session }: Session, position: Position): Promise<void> {
  const { data, settings } = session.request
  const { epoch, batch: startBatch } = position.cursor
  if (startBatch >= data.train.steps) return
  let before = ctx.now()
  for await (const batch of data.train.epoch(epoch, { startBatch, signal: ctx.signal })) {
    if (ctx.signal.aborted) throw interrupted()
    const { cursor } = position
    const lr = learningRate(settings, cursor.step, data.train.steps)
    const { loss, known } = await runStep({ ctx, ...session }, batch, { lr, cursor })
    position.cursor = {
      ...cursor,
      batch: cursor.batch + 1,
      step: cursor.step + 1,
      lossSum: cursor.lossSum + loss * known,
      lossKnown: cursor.lossKnown + known,
    }
    session.progress.advance(batch.size, 0, `epoch ${epoch + 1}, loss ${loss.toFixed(4)}`)
    await turn()
    const after = ctx.now()
    session.clock.images += batch.size
    session.clock.ms += after - before
    before = after
  }
  if (ctx.signal.aborted) throw interrupted()
  const { batch } = position.cursor
  if (batch !== data.train.steps) {
    throw new Error(`the train split gave ${batch} batches of ${data.train.steps}`)
  }
}

async function runStep(
  { request, model, trainer }: Session,
  batch: Batch,
  { lr, cursor }: { readonly lr: number; readonly cursor: Cursor },
): Promise<{ readonly loss: number; readonly known: number }> {
  const { settings, data } = request
  const { y, weight, known } = targetsOf(
    batch.y,
    batch.size,
    data.labels.length,
    isCategorical(settings),
  )
  const { dropout } = settings.model
  const mask = (): HostTensors => ({
    dropout: dropoutMask(dropout, [batch.size, model.features], {
      seed: settings.seed,
      step: cursor.step,
    }),
  })
  const out = await trainer.run({
    x: { shape: [batch.size, ...data.train.xShape], data: batch.x },
    y,
    weight,
    ...(dropout > 0 ? mask() : {}),
    ...optimizerFeed(lr, cursor.step + 1),
  })
  const loss = out['loss']!.data[0]!
  if (!Number.isFinite(loss) || !Number.isFinite(out['gradientNorm']!.data[0]!)) {
    throw diverged(settings, `the loss is ${loss}`, cursor)
  }
  return { loss, known }
}

const diverged = ({ optimizer }: TrainSettings, what: string, { epoch, step }: Cursor): CxvError =>
  new CxvError(
    'TRAINING_DIVERGED',
    `${what} or its gradient is not finite, in epoch ${epoch + 1} at step ${step + 1}`,
    {
      hint: `lower optimizer.lr (now ${optimizer.lr}) or set optimizer.clip_norm: 1`,
      data: { epoch: epoch + 1, step: step + 1, lr: optimizer.lr },
    },
  )

/** Validates, writes the epoch's row, moves on to the next epoch. */
async function endEpoch(session: Session, position: Position, started: number): Promise<void> {
  const { ctx, request, posWeight, trainer, predictor, progress, clock } = session
  const { settings } = request
  const weights = await trainer.read(isModelArray)
  await predictor.write(weights)
  const onSeen = (seen: number, samples: number): void =>
    progress.advance(0, 0, `validating ${formatCount(seen)}/${formatCount(samples)}`)
  const val = await predictSplit({ ctx, settings, posWeight, onSeen }, predictor, request.data.val)
  if (!val.probabilities.every((p) => Number.isFinite(p))) {
    throw diverged(settings, 'the validation loss', position.cursor)
  }
  const { cursor } = position
  const metrics = epochMetrics({ settings, data: request.data }, cursor, val)
  const isBest = isBetter(settings, metrics, cursor)
  const row: HistoryRow = { epoch: cursor.epoch + 1, step: cursor.step, metrics, best: isBest }
  if (isBest) position.best = weights
  position.cursor = {
    ...START,
    epoch: cursor.epoch + 1,
    step: cursor.step,
    best: isBest
      ? { epoch: row.epoch, value: metrics[settings.earlyStop.monitor] ?? 0 }
      : cursor.best,
    waited: isBest ? 0 : cursor.waited + 1,
    history: [...cursor.history, row],
  }
  ctx.emit({
    type: 'train.epoch',
    epoch: row.epoch,
    epochs: settings.train.epochs,
    metrics,
    best: isBest,
  })
  const seconds = (ctx.now() - started) / 1000
  await request.ports.log({ ...row, seconds, imagesPerSecond: rate(clock) })
}

const rate = ({ images, ms }: Session['clock']): number => (ms === 0 ? 0 : (images * 1000) / ms)

async function save(session: Session, { cursor, best }: Position): Promise<void> {
  const { config, request, trainer } = session
  const bytes = encodeCheckpoint({
    engine: request.engine.name,
    config,
    cursor,
    state: await trainer.read(),
    best,
  })
  const digits = (n: number): string => String(n).padStart(6, '0')
  await request.ports.saveCheckpoint(
    `epoch-${digits(cursor.epoch)}-step-${digits(cursor.step)}`,
    bytes,
  )
}

async function finish(
  session: Session,
  { cursor, best }: Position,
  resumed: Cursor | undefined,
): Promise<TrainResult> {
  const { ctx, request, model, posWeight, clock } = session
  const { settings, data, engine } = request
  const last = await session.trainer.read(isModelArray)
  if (best === undefined) {
    ctx.emit({
      type: 'warn',
      code: 'MONITOR_UNDEFINED',
      message: `${settings.earlyStop.monitor} was never defined: the last weights are kept as the best`,
    })
  }
  const metadata = weightsMetadata(request)
  const weights = encodeWeights(best ?? last, metadata)
  const { predictions, evaluation } = await evaluate(ctx, { settings, data, engine, weights })
  const bestEpoch = cursor.best?.epoch ?? cursor.epoch
  return {
    best: { bytes: weights, epoch: bestEpoch },
    last: { bytes: encodeWeights(last, metadata), epoch: cursor.epoch },
    history: cursor.history,
    epochs: cursor.epoch,
    steps: cursor.step,
    stopped: cursor.epoch < settings.train.epochs ? 'patience' : 'epochs',
    resumedFrom: resumed === undefined ? null : { epoch: resumed.epoch + 1, step: resumed.step },
    parameters: countTrained(model),
    posWeight,
    imagesPerSecond: rate(clock),
    predictions,
    evaluation,
  }
}

const countTrained = ({ parameters }: Model): number =>
  parameters
    .filter(({ kind }) => kind !== 'running')
    .reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)

/** The signature that goes with the weights: enough to rebuild the model's function. */
function weightsMetadata({ settings, data }: TrainRequest): Readonly<Record<string, string>> {
  return {
    'cxv.arch': settings.model.arch,
    'cxv.task': settings.task,
    'cxv.input': JSON.stringify(data.train.xShape),
    'cxv.labels': JSON.stringify(data.labels),
  }
}
