import { CxvError, startTask, type Context } from '../base/index.ts'
import type { BatchSource, TrainingData } from '../dataset/types.ts'
import { initialise } from './layers.ts'
import { positiveWeights } from './losses.ts'
import { predictSplit } from './predict.ts'
import { report, type Evaluation, type Predictions, type SplitPredictions } from './report.ts'
import { createModel, createPredictStep } from './step.ts'
import type { Engine, TrainSettings } from './types.ts'
import { decodeWeights } from './weights.ts'

export interface EvaluateRequest {
  readonly settings: TrainSettings
  readonly data: TrainingData
  readonly engine: Engine
  /** As `train` returned them. */
  readonly weights: Uint8Array
}

/**
 * Figures of given weights on val and test.
 * @throws {FORMAT_INVALID} the weights are damaged or of another model
 */
export async function evaluate(
  ctx: Context,
  { settings, data, engine, weights }: EvaluateRequest,
): Promise<{ readonly predictions: Predictions; readonly evaluation: Evaluation }> {
  const labels = data.labels.length
  const model = createModel(settings.model.arch, data.train.xShape, labels)
  const posWeight = positiveWeights(settings, labels, data.train.y)
  const { tensors } = decodeWeights(weights)
  const predictor = engine.compile(
    createPredictStep(model),
    initialise(model.parameters, settings.seed),
  )
  const images = data.val.groups.length + data.test.groups.length
  const task = startTask(ctx, 'evaluate', 'images', images)
  try {
    await predictor.write(tensors).catch((cause: unknown) => {
      throw new CxvError('FORMAT_INVALID', 'the weights are of another model', { cause })
    })
    const predict = (source: BatchSource): Promise<SplitPredictions> => {
      let told = 0
      const onSeen = (seen: number): void => {
        task.advance(seen - told, 0, source.split)
        told = seen
      }
      return predictSplit({ ctx, settings, posWeight, onSeen }, predictor, source)
    }
    const predictions = { val: await predict(data.val), test: await predict(data.test) }
    return { predictions, evaluation: report(settings, data, predictions) }
  } finally {
    task.end()
    predictor.dispose()
  }
}
