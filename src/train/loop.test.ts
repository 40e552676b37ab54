import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test from 'node:test'
import { testContext } from '../../test/helpers/context.ts'
import { TENSORFLOW_SKIP, tensorflowFolder } from '../../test/helpers/tensorflow-folder.ts'
import { syntheticData } from '../../test/helpers/training-data.ts'
import { isCxvError, type Context } from '../base/index.ts'
import type { TrainingData } from '../dataset/types.ts'
import { openEngine } from './engine.ts'
import { evaluate } from './evaluate.ts'
import { train, type TrainResult } from './loop.ts'
import type { Engine, LogRow, TrainPorts, TrainSettings } from './types.ts'

const settings: TrainSettings = {
  task: 'binary',
  model: { arch: 'small_cnn', dropout: 0.25 },
  loss: { name: 'bce', posWeight: 'auto', labelSmoothing: 0 },
  optimizer: { name: 'adam', lr: 3e-3, weightDecay: 1e-3, momentum: 0.9, clipNorm: 1 },
  schedule: { name: 'cosine', warmupEpochs: 1, minLr: 1e-5 },
  train: { epochs: 3, batch: 4 },
  earlyStop: { monitor: 'val/loss', patience: 5, minDelta: 0 },
  checkpoint: { everyEpochs: 1 },
  seed: 7,
  evaluate: { bootstrap: 100 },
}

interface Memory extends TrainPorts {
  readonly saved: { readonly name: string; readonly bytes: Uint8Array }[]
  readonly rows: LogRow[]
}
function memory(): Memory {
  const saved: Memory['saved'] = []
  const rows: LogRow[] = []
  return {
    saved,
    rows,
    saveCheckpoint: async (name, bytes) => void saved.push({ name, bytes }),
    async *loadCheckpoints() {
      for (const { bytes } of [...saved].reverse()) yield bytes
    },
    log: async (row) => void rows.push(row),
  }
}

interface RunOptions {
  readonly engine: Engine
  readonly data?: TrainingData
  readonly settings?: TrainSettings
  readonly ports?: TrainPorts
  readonly resume?: boolean
  readonly ctx?: Context
}
const run = (options: RunOptions): Promise<TrainResult> =>
  train(options.ctx ?? testContext(), {
    settings,
    data: syntheticData(),
    ports: memory(),
    identity: 'pin',
    ...options,
  })

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
/** All of a result that must repeat. */
const essence = (result: TrainResult): unknown => ({
  best: sha(result.best.bytes),
  last: sha(result.last.bytes),
  history: result.history,
  steps: result.steps,
  predictions: result.predictions,
  evaluation: result.evaluation,
})

/** Stops training after `steps` steps, as Ctrl-C would. */
async function runInterrupted(options: RunOptions, steps: number): Promise<void> {
  const stop = new AbortController()
  let seen = 0
  const source = options.data ?? syntheticData()
  const data: TrainingData = {
    ...source,
    train: {
      ...source.train,
      async *epoch(epoch, rest) {
        for await (const batch of source.train.epoch(epoch, rest)) {
          if (seen++ === steps) stop.abort()
          yield batch
        }
      },
    },
  }
  const ctx = testContext(stop.signal)
  await assert.rejects(run({ ...options, data, ctx, resume: true }), (error) =>
    isCxvError(error, 'INTERRUPTED'),
  )
}

const small = { train: 6, val: 4, test: 4 }
const scales = [
  // Plain JavaScript takes a quarter of a second a step.
  {
    name: 'cpu',
    sizes: small,
    settings: { ...settings, train: { epochs: 2, batch: 4 } },
    steps: [1, 2],
  },
  // 6 steps an epoch, 18 in all: in the first epoch, at its end, and later.
  { name: 'wasm', sizes: undefined, settings, steps: [0, 1, 5, 6, 7, 12, 17] },
  { name: 'tensorflow', sizes: undefined, settings, steps: [1, 6, 10] },
] as const
const tensorflowModule = tensorflowFolder()

for (const { name, sizes, settings: scaled, steps } of scales) {
  const skip = name === 'tensorflow' && tensorflowModule === undefined && TENSORFLOW_SKIP
  const make = async (): Promise<RunOptions> => ({
    engine: await openEngine({
      name,
      ...(tensorflowModule === undefined ? {} : { tensorflowModule }),
    }),
    settings: scaled,
    data: syntheticData(sizes === undefined ? {} : { sizes }),
  })

  test(
    `${name}: the same settings, data and seed give the same bytes; another seed does not`,
    { skip },
    async () => {
      const options = await make()
      const first = await run(options)
      assert.deepEqual(essence(await run(options)), essence(first))
      const other = await run({ ...options, settings: { ...scaled, seed: 8 } })
      assert.notEqual(sha(other.last.bytes), sha(first.last.bytes))
    },
  )

  test(
    `${name}: interrupted at any step and resumed, it ends with the same bytes`,
    { skip },
    async () => {
      const options = await make()
      const whole = await run(options)
      for (const after of steps) {
        const ports = memory()
        await runInterrupted({ ...options, ports }, after)
        const resumed = await run({ ...options, ports, resume: true })
        assert.equal(resumed.resumedFrom?.step, after)
        assert.deepEqual(essence(resumed), essence(whole), `after ${after} steps`)
      }
    },
  )
}

test('interrupted again and again, it still ends with the same bytes', async () => {
  const engine = await openEngine({ name: 'wasm' })
  const whole = await run({ engine })
  const ports = memory()
  for (let i = 0; i < 5; i++) await runInterrupted({ engine, ports }, 3)
  assert.deepEqual(essence(await run({ engine, ports, resume: true })), essence(whole))
})

test('interrupted during validation, nothing of the epoch is lost', async () => {
  const engine = await openEngine({ name: 'wasm' })
  const whole = await run({ engine })
  const stop = new AbortController()
  const ports = memory()
  const data = syntheticData({ onBatch: (split) => split === 'val' && stop.abort() })
  await assert.rejects(run({ engine, data, ports, ctx: testContext(stop.signal) }))
  const resumed = await run({ engine, ports, resume: true })
  assert.equal(resumed.resumedFrom?.step, 6)
  assert.deepEqual(essence(resumed), essence(whole))
})

test('a finished run resumed from its last checkpoint only evaluates', async () => {
  const engine = await openEngine({ name: 'wasm' })
  const ports = memory()
  const whole = await run({ engine, ports })
  const again = await run({ engine, ports, resume: true })
  assert.deepEqual(essence(again), essence(whole))
  assert.equal(ports.rows.length, 3)
})

test('a damaged checkpoint is passed over with a warning for the one before it', async () => {
  const engine = await openEngine({ name: 'wasm' })
  const ports = memory()
  const whole = await run({ engine, ports })
  const tear = (n: number): void => {
    ports.saved.at(n)!.bytes.fill(0, 40)
  }
  tear(-1)
  const ctx = testContext()
  const resumed = await run({ engine, ports, resume: true, ctx })
  assert.deepEqual(essence(resumed), essence(whole))
  assert.equal(resumed.resumedFrom?.step, 12)
  const codes = ctx.events.flatMap((event) => (event.type === 'warn' ? [event.code] : []))
  assert.deepEqual(codes, ['CHECKPOINT_INVALID'])
  for (const n of ports.saved.keys()) tear(n)
  await assert.rejects(run({ engine, ports, resume: true }), (error) =>
    isCxvError(error, 'CHECKPOINT_INVALID'),
  )
})

test('resume refuses other settings, other data and another engine, naming them', async () => {
  const engine = await openEngine({ name: 'wasm' })
  const ports = memory()
  await run({ engine, ports })
  const mismatch = (what: string) => (error: unknown) =>
    isCxvError(error, 'RUN_MISMATCH') && error.message.includes(what)
  const faster = { ...settings, optimizer: { ...settings.optimizer, lr: 1 } }
  await assert.rejects(
    run({ engine, ports, resume: true, settings: faster }),
    mismatch('optimizer'),
  )
  const data = syntheticData({ sizes: { train: 21, val: 10, test: 10 } })
  await assert.rejects(run({ engine, ports, resume: true, data }), mismatch('data'))
  const cpu = await openEngine({ name: 'cpu' })
  await assert.rejects(run({ engine: cpu, ports, resume: true }), mismatch('wasm engine'))
})

test('no tensor outlives a step or a run', async () => {
  const engine = await openEngine({ name: 'wasm' })
  const counts: number[] = []
  const before = engine.tensorCount()
  await run({
    engine,
    data: syntheticData({
      onBatch: (split) => split === 'train' && counts.push(engine.tensorCount()),
    }),
  })
  assert.equal(new Set(counts).size, 1, `tensors at each step: ${counts.join(' ')}`)
  assert.equal(engine.tensorCount(), before)
})

test('a loss that is not finite stops training with the step and a hint', async () => {
  const engine = await openEngine({ name: 'wasm' })
  const wild = {
    ...settings,
    optimizer: { ...settings.optimizer, name: 'sgd', lr: 1e30, clipNorm: 0 },
  } as const
  await assert.rejects(run({ engine, settings: wild }), (error) => {
    assert.ok(isCxvError(error, 'TRAINING_DIVERGED'))
    assert.match(error.hint ?? '', /optimizer\.lr/)
    assert.equal(typeof error.data['step'], 'number')
    return true
  })
})

test('the early stop keeps the weights of the best epoch, and evaluate gives their figures again', async () => {
  const engine = await openEngine({ name: 'wasm' })
  const long = {
    ...settings,
    optimizer: { ...settings.optimizer, lr: 0.05 },
    train: { epochs: 12, batch: 4 },
    earlyStop: { monitor: 'val/loss', patience: 2, minDelta: 0 },
  } as const
  const ctx = testContext()
  const ports = memory()
  const result = await run({ engine, settings: long, ctx, ports })
  assert.equal(result.stopped, 'patience')
  assert.equal(result.epochs, result.best.epoch + 2)
  const best = result.history[result.best.epoch - 1]!
  assert.equal(best.best, true)
  assert.equal(best.metrics['val/loss'], result.predictions.val.loss)
  assert.equal(ctx.events.filter(({ type }) => type === 'train.epoch').length, result.epochs)
  assert.equal(ports.saved.length, result.epochs)
  const again = await evaluate(testContext(), {
    settings: long,
    data: syntheticData(),
    engine,
    weights: result.best.bytes,
  })
  assert.deepEqual(again.evaluation, result.evaluation)
})

test('each task learns what its images show', async () => {
  const engine = await openEngine({ name: 'wasm' })
  const sizes = { train: 48, val: 24, test: 24 }
  const long = { ...settings, train: { epochs: 8, batch: 8 } }
  const tasks = [
    { task: 'binary', labels: 1, loss: 'weighted_bce', unknown: 0 },
    { task: 'multilabel', labels: 3, loss: 'bce', unknown: 0.2 },
    { task: 'multiclass', labels: 3, loss: 'categorical_ce', unknown: 0 },
  ] as const
  for (const { task, labels, loss, unknown } of tasks) {
    const data = syntheticData({ task, labels, unknown, sizes, batch: 8 })
    const result = await run({
      engine,
      data,
      settings: { ...long, task, loss: { ...settings.loss, name: loss, labelSmoothing: 0.05 } },
    })
    const { test: figures } = result.evaluation
    assert.ok((figures.aurocMacro ?? 0) > 0.9, `${task}: ${figures.aurocMacro}`)
    assert.equal(figures.labels.length, labels)
    assert.equal(figures.naive.auroc, 0.5)
    assert.equal(figures.confusionMatrix !== undefined, task === 'multiclass')
    JSON.stringify(result.evaluation, (_, value: unknown) => {
      assert.ok(typeof value !== 'number' || Number.isFinite(value))
      return value
    })
  }
})

test('validation and the last figures tell how far they are', async () => {
  let now = 0
  // So slow a clock that each step is told.
  const ctx = { ...testContext(), now: () => (now += 1000) }
  const data = syntheticData({ sizes: small })
  const engine = await openEngine({ name: 'wasm' })
  await run({
    ctx,
    engine,
    data,
    settings: { ...settings, train: { epochs: 1, batch: 4 }, evaluate: { bootstrap: 0 } },
  })
  const steps = ctx.events.flatMap((e) => (e.type === 'task.step' ? [e] : []))
  const notes = steps.map(({ note }) => note ?? '')
  assert.ok(notes.includes('validating 4/4'), notes.join('; '))
  const ends = ctx.events.flatMap((e) => (e.type === 'task.end' ? [e] : []))
  assert.deepEqual(
    ends.map(({ task, done }) => [task.replace(/#.*/, ''), done]),
    [
      ['train', 6],
      ['evaluate', 8],
    ],
  )
  assert.ok(notes.includes('val') && notes.includes('test'))
})
