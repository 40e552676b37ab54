/**
 * Run records: written while a run lives, sealed as a git commit under its data, walked both ways.
 * Not its concern: how a run trains (train), how a pin is resolved (dataset), how runs travel (sync).
 */
export { type LiveRun, newRunId, openLiveRun } from './live-run.ts'
export { findRun, type KnownRun, listRuns, runsByCommit, sealRun } from './runs.ts'
export { type AskedImage, samplesOf, traceImages, type TraceHit } from './trace.ts'
export { svgToPng } from './plot-png.ts'
export { lossSvg, rocSvg } from './plots.ts'
