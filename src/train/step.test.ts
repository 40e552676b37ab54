import assert from 'node:assert/strict'
import test from 'node:test'
import { createRandom, isCxvError } from '../base/index.ts'
import { explainEngineChoice } from './engine-choice.ts'
import { openEngine } from './engine.ts'
import { initialise, type Parameter } from './layers.ts'
import { createLoss, lossOf, positiveWeights, targetsOf } from './losses.ts'
import { applyOptimizer, initialOptimizerState, learningRate, optimizerFeed } from './optimizer.ts'
import { createModel, createPredictStep, createTrainStep, dropoutMask } from './step.ts'
import type { HostTensor, HostTensors, Tensor4D, TrainSettings } from './types.ts'

type LossSettings = Pick<TrainSettings, 'loss'>
type OptimizerSettings = TrainSettings['optimizer']

const near = (actual: Iterable<number>, expected: Iterable<number>, tolerance = 1e-5): void => {
  const want = [...expected]
  const got = [...actual]
  assert.equal(got.length, want.length)
  got.forEach((value, i) =>
    assert.ok(Math.abs(value - want[i]!) <= tolerance * (1 + Math.abs(want[i]!)), `${got} ${want}`),
  )
}

const parameters: readonly Parameter[] = [
  { name: 'k', shape: [2, 2], kind: 'kernel', init: { std: 1 } },
  { name: 'o', shape: [2], kind: 'offset', init: { value: 1 } },
]

/** Three updates by constant gradients on the cpu engine, and the values after each. */
async function update(
  settings: OptimizerSettings,
  gradient: readonly number[],
): Promise<number[][]> {
  const engine = await openEngine({ name: 'cpu' })
  const compiled = engine.compile(
    (ops, state, feed) => {
      const gradients = [
        ops.tf.tensor2d([...gradient.slice(0, 4)], [2, 2]),
        ops.tf.tensor1d([...gradient.slice(4)]),
      ]
      const next = applyOptimizer(ops, settings, parameters, { state, feed, gradients })
      return { state: next.state, out: { norm: next.gradientNorm } }
    },
    {
      k: { shape: [2, 2], data: Float32Array.of(1, -1, 2, 0.5) },
      o: { shape: [2], data: Float32Array.of(1, 1) },
      ...initialOptimizerState(settings, parameters),
    },
  )
  const values: number[][] = []
  for (let step = 1; step <= 3; step++) {
    const { norm } = await compiled.run(optimizerFeed(settings.lr, step))
    near(norm!.data, [Math.hypot(...gradient)])
    const state = await compiled.read()
    values.push([...state['k']!.data, ...state['o']!.data])
  }
  compiled.dispose()
  return values
}

const gradient = [0.5, -0.25, 1, 0, 2, -3]
const base: OptimizerSettings = {
  name: 'adam',
  lr: 0.1,
  weightDecay: 0,
  momentum: 0.9,
  clipNorm: 0,
}

test('adam with decoupled decay, worked in plain arithmetic', async () => {
  const settings = { ...base, weightDecay: 0.01 }
  const values = [1, -1, 2, 0.5, 1, 1]
  const m = values.map(() => 0)
  const v = values.map(() => 0)
  const got = await update(settings, gradient)
  for (let t = 1; t <= 3; t++) {
    values.forEach((value, i) => {
      m[i] = 0.9 * m[i]! + 0.1 * gradient[i]!
      v[i] = 0.999 * v[i]! + 0.001 * gradient[i]! ** 2
      const move = m[i]! / (1 - 0.9 ** t) / (Math.sqrt(v[i]! / (1 - 0.999 ** t)) + 1e-8)
      values[i] = value - 0.1 * move - (i < 4 ? 0.1 * 0.01 * value : 0)
    })
    near(got[t - 1]!, values, 1e-4)
  }
})

test('sgd with momentum and decay, clipped by the global norm', async () => {
  const settings = { ...base, name: 'sgd', weightDecay: 0.01, clipNorm: 1 } as const
  const scale = 1 / (Math.hypot(...gradient) + 1e-6)
  const values = [1, -1, 2, 0.5, 1, 1]
  const velocity = values.map(() => 0)
  const got = await update(settings, gradient)
  for (let t = 1; t <= 3; t++) {
    values.forEach((value, i) => {
      const pull = gradient[i]! * scale + (i < 4 ? 0.01 * value : 0)
      velocity[i] = 0.9 * velocity[i]! + pull
      values[i] = value - 0.1 * velocity[i]!
    })
    near(got[t - 1]!, values, 1e-4)
  }
})

test('the learning rate warms up, then falls to the least at the last step', () => {
  const settings = {
    optimizer: { ...base, lr: 1 },
    schedule: { name: 'cosine', warmupEpochs: 1, minLr: 0.1 },
    train: { epochs: 3, batch: 8 },
  } as const
  const rates = Array.from({ length: 12 }, (_, step) => learningRate(settings, step, 4))
  near(rates.slice(0, 5), [0.25, 0.5, 0.75, 1, 1])
  near([rates[11]!], [0.1])
  assert.ok(rates.slice(4).every((rate, i, all) => i === 0 || rate < all[i - 1]!))
  const constant = { ...settings, schedule: { ...settings.schedule, name: 'constant' } } as const
  assert.equal(learningRate(constant, 11, 4), 1)
})

test('the loss of a step is the loss of the split, with unknown labels left out', async () => {
  const engine = await openEngine({ name: 'cpu' })
  const random = createRandom(5)
  const rows = 6
  const labels = 3
  const logits = Float32Array.from({ length: rows * labels }, () => 3 * random.normal())
  logits[0] = 80
  logits[1] = -80
  const binary = Float32Array.from(logits, () => (random.next() < 0.2 ? NaN : random.int(2)))
  const oneHot = new Float32Array(rows * labels)
  for (let row = 0; row < rows; row++) oneHot[row * labels + random.int(labels)] = 1
  oneHot.fill(NaN, 3, 6)
  const kinds = [
    { name: 'bce', y: binary, posWeight: [1, 1, 1] },
    { name: 'weighted_bce', y: binary, posWeight: [2, 0.5, 7] },
    { name: 'categorical_ce', y: oneHot, posWeight: [1, 1, 1] },
  ] as const
  for (const { name, y, posWeight } of kinds) {
    const settings: LossSettings = { loss: { name, posWeight: 'auto', labelSmoothing: 0 } }
    const targets = targetsOf(y, rows, labels, name === 'categorical_ce')
    const loss = createLoss(settings, posWeight)
    const compiled = engine.compile(
      (ops, state, feed) => ({
        state,
        out: { loss: loss(ops, feed['logits']!, feed['y']!, feed['weight']!) },
      }),
      {},
    )
    const out = await compiled.run({
      logits: { shape: [rows, labels], data: logits },
      y: targets.y,
      weight: targets.weight,
    })
    near(out['loss']!.data, [lossOf(settings, posWeight, logits, y)])
  }
})

test('automatic positive weights are negatives over positives, capped at 20', () => {
  const settings: LossSettings = {
    loss: { name: 'weighted_bce', posWeight: 'auto', labelSmoothing: 0 },
  }
  const y = new Float32Array(200)
  for (let i = 0; i < 25; i++) y[2 * i] = 1
  y[1] = 1
  y[3] = NaN
  assert.deepEqual(positiveWeights(settings, 2, y), [3, 20])
  const fixed: LossSettings = { loss: { ...settings.loss, posWeight: 4 } }
  assert.deepEqual(positiveWeights(fixed, 2, y), [4, 4])
  const plain: LossSettings = { loss: { ...settings.loss, name: 'bce' } }
  assert.deepEqual(positiveWeights(plain, 2, y), [1, 1])
})

test('dropout is a function of seed and step', () => {
  const at = { seed: 1, step: 3 }
  const mask = dropoutMask(0.25, [50, 40], at)
  assert.deepEqual(dropoutMask(0.25, [50, 40], at), mask)
  assert.notDeepEqual(dropoutMask(0.25, [50, 40], { seed: 1, step: 4 }), mask)
  const dropped = mask.data.filter((m) => m === 0).length / mask.data.length
  assert.ok(dropped > 0.2 && dropped < 0.3)
  assert.ok(mask.data.every((m) => m === 0 || m === Math.fround(4 / 3)))
})

const countTrained = (shapes: readonly Parameter[]): number =>
  shapes
    .filter(({ kind }) => kind !== 'running')
    .reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)

test('resnet18 has the numbers of the paper; its stem follows the size of the image', () => {
  // torchvision's resnet18 has 11,689,512 with 513,000 in its head of 1,000 classes.
  const large = createModel('resnet18', [224, 224, 3], 1)
  assert.equal(countTrained(large.parameters), 11_689_512 - 513_000 + 513)
  const kernel = ({ parameters: all }: typeof large): readonly number[] =>
    all.find(({ name }) => name === 'stem/kernel')!.shape
  assert.deepEqual(kernel(large), [7, 7, 3, 64])
  assert.deepEqual(kernel(createModel('resnet18', [64, 64, 1], 1)), [3, 3, 1, 64])
})

const random = createRandom(9)
const noise = (...shape: number[]): HostTensor => ({
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => random.normal()),
})

for (const [arch, pixels] of [
  ['small_cnn', 33],
  ['resnet18', 128],
] as const) {
  test(`${arch} at ${pixels} px: one step moves every array that is trained, and the moments`, async () => {
    const engine = await openEngine({ name: 'wasm' })
    const model = createModel(arch, [pixels, pixels, 3], 2)
    const loss = createLoss({ loss: { name: 'bce', posWeight: 1, labelSmoothing: 0 } }, [1, 1])
    const start: HostTensors = {
      ...initialise(model.parameters, 1),
      ...initialOptimizerState(base, model.parameters),
    }
    const trainer = engine.compile(createTrainStep(model, loss, base), start)
    const targets = targetsOf(Float32Array.of(1, 0, 0, 1), 2, 2, false)
    const x = noise(2, pixels, pixels, 3)
    await trainer.run({ x, y: targets.y, weight: targets.weight, ...optimizerFeed(1e-3, 1) })
    const state = await trainer.read()
    for (const { name } of model.parameters) {
      assert.notDeepEqual(state[name]!.data, start[name]!.data, name)
    }
    trainer.dispose()
  })
}

test('evaluation folds the running moments into the convolution without changing the result', async () => {
  const engine = await openEngine({ name: 'wasm' })
  const model = createModel('small_cnn', [16, 16, 1], 1)
  const state = Object.fromEntries(
    Object.entries(initialise(model.parameters, 1)).map(([name, tensor]) => {
      const shift = name.endsWith('variance') ? 0.5 : 0
      const drawn = noise(...tensor.shape).data.map((v) => Math.abs(v) + shift)
      return [name, name.endsWith('kernel') ? tensor : { shape: tensor.shape, data: drawn }]
    }),
  )
  const x = noise(3, 16, 16, 1)
  const predictor = engine.compile(createPredictStep(model), state)
  const folded = await predictor.run({ x })
  const plain = engine.compile((ops, values, feed) => {
    const { tf } = ops
    let h = feed['x'] as Tensor4D
    for (let i = 1; i <= 6; i++) {
      const get = (part: string): never => values[`conv${i}/${part}`] as never
      h = tf.conv2d(h, get('kernel'), [2, 1, 2, 1, 2, 1][i - 1]!, 'same')
      h = tf.relu(tf.batchNorm(h, get('mean'), get('variance'), get('beta'), get('gamma'), 1e-5))
    }
    const pooled = tf.mean(h, [1, 2])
    return {
      state: values,
      out: { logits: tf.add(tf.matMul(pooled, values['head/kernel']!), values['head/bias']!) },
    }
  }, state)
  near(folded['logits']!.data, (await plain.run({ x }))['logits']!.data, 1e-4)
})

test('the choice of an engine is explained in a line', () => {
  const tensorflow = { version: '2.20.0', device: 'CPU' } as const
  assert.deepEqual(explainEngineChoice('auto', { tensorflow }), {
    name: 'tensorflow',
    reason: 'engine: tensorflow (installed, TensorFlow 2.20.0, CPU)',
  })
  const without = explainEngineChoice('auto', {})
  assert.equal(without.name, 'wasm')
  assert.match(without.reason, /not set up; `cxv engine add tensorflow`/)
  assert.equal(explainEngineChoice('wasm', { tensorflow }).name, 'wasm')
  assert.throws(
    () => explainEngineChoice('tensorflow', {}),
    (error) => isCxvError(error, 'ENGINE_MISSING') && error.hint === 'cxv engine add tensorflow',
  )
})
