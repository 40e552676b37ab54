import { isCxvError } from '../base/index.ts'

/**
 * What a verb failed of. Where closing up failed as well, `await using` throws a SuppressedError that
 * holds both: the first failure is the cause, unless only the other is one that a user can act on.
 */
export function firstFailure(error: unknown): unknown {
  if (!(error instanceof Error) || error.name !== 'SuppressedError' || !('suppressed' in error)) {
    return error
  }
  const first = firstFailure(error.suppressed)
  if (isCxvError(first)) return first
  const later = 'error' in error ? firstFailure(error.error) : undefined
  return isCxvError(later) ? later : first
}
