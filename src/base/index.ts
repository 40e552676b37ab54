/**
 * Ids, errors, events, bytes, text. Concern: the words every room shares.
 * Not its concern: anything that touches a file, a process or a package.
 */
export * from './bytes.ts'
export * from './errors.ts'
export * from './events.ts'
export * from './ids.ts'
export * from './json.ts'
export * from './random.ts'
export * from './text.ts'
