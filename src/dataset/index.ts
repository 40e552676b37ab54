/**
 * From a version and a question to batches: pins, splits, decoding, augmentation.
 * Not its concern: SQL sessions (table), bytes (store), what is done with a batch (train).
 */
export { matchImages } from './match.ts'
export { describeAugmentation, openTrainingData } from './open.ts'
export { type PinResolution, resolvePin, type UncommittedVersion } from './pin.ts'
