/**
 * Files, locks, processes, the host. Concern: the operating system, with typed errors and durable
 * writes. Not its concern: what the bytes mean.
 */
export * from './append.ts'
export * from './clock.ts'
export * from './async-files.ts'
export * from './crash-point.ts'
export * from './folders.ts'
export * from './fs.ts'
export * from './host.ts'
export * from './lock.ts'
export * from './machine.ts'
export * from './process.ts'
export * from './read-range.ts'
export * from './raw-files.ts'
export * from './uncached.ts'
export * from './workers.ts'
export * from './walk.ts'
