/**
 * Pure codecs: bytes to objects and back, one section of docs/format.md each.
 * Not its concern: where bytes come from or go.
 */
export * from './run-record.ts'
export * from './manifest.ts'
export * from './xxh64.ts'
export * from './train-config.ts'
export * from './train-encode.ts'
export * from './remote-ref.ts'
export * from './wire.ts'
export * from './chunk-codec.ts'
export * from './pack.ts'
export * from './recipe.ts'
export * from './fragment.ts'
export * from './history-pack.ts'
export * from './sample-list.ts'
