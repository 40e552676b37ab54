/**
 * Training: engines, models, the pure step, the loop, metrics. Concern: from batches to weights and figures.
 * Not its concern: where batches come from, where bytes are kept, what a run record is; it touches no file.
 */
export { benchStep } from './bench.ts'
export { explainEngineChoice } from './engine-choice.ts'
export { openEngine } from './engine.ts'
export { train, type TrainResult } from './loop.ts'
export { restoreUtil } from './tensorflow.ts'
export type { Evaluation, SplitFigures } from './report.ts'
export type * from './types.ts'
