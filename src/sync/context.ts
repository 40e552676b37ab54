import type { Context } from '../base/index.ts'

/** What sync needs beyond a context: the environment names ssh's programs. */
export interface CommandContextLike extends Context {
  readonly env: Readonly<Record<string, string | undefined>>
}
