/**
 * Training: engines, models, the pure step, the loop, metrics. Concern: from batches to weights and figures.
 * Not its concern: where batches come from, where bytes are kept, what a run record is; it touches no file.
 */
export { benchStep, type BenchShape } from './bench.ts'
export { explainEngineChoice, type AvailableEngines } from './engine-choice.ts'
export { openEngine } from './engine.ts'
export type * from './types.ts'
