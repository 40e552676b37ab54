/**
 * Training: engines, models, the pure step, the loop, metrics. Concern: from batches to weights and figures.
 * Not its concern: where batches come from, where bytes are kept, what a run record is; it touches no file.
 */
export { benchStep, type BenchShape } from './bench.ts'
export type { Interval } from './bootstrap.ts'
export { explainEngineChoice, type AvailableEngines } from './engine-choice.ts'
export { openEngine } from './engine.ts'
export { evaluate, type EvaluateRequest } from './evaluate.ts'
export { train, type TrainedWeights, type TrainRequest, type TrainResult } from './loop.ts'
export type { Confusion, RocCurve } from './metrics.ts'
export type {
  Evaluation,
  LabelFigures,
  NaiveFigures,
  Predictions,
  SplitFigures,
  SplitPredictions,
} from './report.ts'
export type * from './types.ts'
export { decodeWeights, encodeWeights, type DecodedTensors } from './weights.ts'
