import { findEngines } from '../../src/commands/engine-find.ts'

/**
 * The tensorflow engine of this user, which needs no setting up again: its package's folder, for
 * `openEngine({ tensorflowModule })`. CXV_TEST_TENSORFLOW names another one. undefined: not set up.
 */
export function tensorflowFolder(): string | undefined {
  const chosen = process.env['CXV_TEST_TENSORFLOW']
  // One that is named and broken must fail the tests, not skip them.
  if (chosen !== undefined && chosen !== '') return chosen
  return findEngines(process.env)[0]?.module
}

export const TENSORFLOW_SKIP = 'the tensorflow engine is not set up: cxv engine add tensorflow'
