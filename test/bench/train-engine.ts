/** One engine in a process of its own: `node train-engine.js NAME STEPS BATCH SIZE [MODULE]` prints version and images/s. */
import { benchStep, openEngine, type TrainSettings } from '../../src/train/index.ts'

const [name, steps, batch, size, module] = process.argv.slice(2)
if (name !== 'wasm' && name !== 'tensorflow') throw new Error('wasm or tensorflow')
const settings: TrainSettings = {
  task: 'binary',
  model: { arch: 'small_cnn', dropout: 0 },
  loss: { name: 'bce', posWeight: 'auto', labelSmoothing: 0 },
  optimizer: { name: 'adam', lr: 1e-3, weightDecay: 0, momentum: 0.9, clipNorm: 1 },
  schedule: { name: 'constant', warmupEpochs: 0, minLr: 0 },
  train: { epochs: 1, batch: Number(batch) },
  earlyStop: { monitor: 'none', patience: 1, minDelta: 0 },
  checkpoint: { everyEpochs: 1 },
  seed: 7,
  evaluate: { bootstrap: 0 },
}
const engine = await openEngine(
  module === undefined ? { name } : { name, tensorflowModule: module },
)
const { imagesPerSecond } = await benchStep(engine, settings, {
  xShape: [Number(size), Number(size), 1],
  labels: 1,
  steps: Number(steps),
  now: () => performance.now(),
})
process.stdout.write(`${JSON.stringify({ version: engine.describe.text, imagesPerSecond })}\n`)
await engine.close()
process.exit(0)
