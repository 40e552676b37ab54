import { createRandom } from '../base/index.ts'
import { initialise } from './layers.ts'
import { createLoss, isCategorical, positiveWeights, targetsOf } from './losses.ts'
import { initialOptimizerState, optimizerFeed } from './optimizer.ts'
import { createModel, createTrainStep, dropoutMask } from './step.ts'
import type { Engine, HostTensors, TrainSettings } from './types.ts'

export interface BenchShape {
  /** [H, W, C] */
  readonly xShape: readonly [number, number, number]
  readonly labels: number
  /** Timed steps, after two that are not. */
  readonly steps: number
  /** Milliseconds on any clock. */
  readonly now: () => number
}

/**
 * Times whole training steps (forward, backward, update) on seeded noise, batch as in the settings.
 * @returns images per second, and the loss after the last step
 */
export async function benchStep(
  engine: Engine,
  settings: TrainSettings,
  { xShape, labels, steps, now }: BenchShape,
): Promise<{ readonly imagesPerSecond: number; readonly loss: number }> {
  const { batch } = settings.train
  const random = createRandom(settings.seed)
  const x = Float32Array.from({ length: batch * xShape[0] * xShape[1] * xShape[2] }, () =>
    random.normal(),
  )
  const y = new Float32Array(batch * labels)
  for (let row = 0; row < batch; row++) {
    if (isCategorical(settings)) y[row * labels + random.int(labels)] = 1
    else for (let label = 0; label < labels; label++) y[row * labels + label] = random.int(2)
  }
  const model = createModel(settings.model.arch, xShape, labels)
  const loss = createLoss(settings, positiveWeights(settings, labels, y))
  const targets = targetsOf(y, batch, labels, isCategorical(settings))
  const compiled = engine.compile(createTrainStep(model, loss, settings.optimizer), {
    ...initialise(model.parameters, settings.seed),
    ...initialOptimizerState(settings.optimizer, model.parameters),
  })
  const feed = (step: number): HostTensors => ({
    x: { shape: [batch, ...xShape], data: x },
    y: targets.y,
    weight: targets.weight,
    ...optimizerFeed(settings.optimizer.lr, step + 1),
    ...(settings.model.dropout > 0
      ? {
          dropout: dropoutMask(settings.model.dropout, [batch, model.features], {
            seed: settings.seed,
            step,
          }),
        }
      : {}),
  })
  for (let step = 0; step < 2; step++) await compiled.run(feed(step))
  const start = now()
  let last = NaN
  for (let step = 0; step < steps; step++)
    last = (await compiled.run(feed(step + 2)))['loss']!.data[0]!
  const seconds = (now() - start) / 1000
  compiled.dispose()
  return { imagesPerSecond: (steps * batch) / seconds, loss: last }
}
