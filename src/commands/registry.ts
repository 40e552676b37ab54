import type { AnyCommand } from './types.ts'

export interface VerbEntry {
  /** `add`, or `table add`. */
  readonly name: string
  readonly group: 'start' | 'work' | 'history' | 'share' | 'ask' | 'train' | 'machine'
  /** One line for `cxv --help`; the same as the command's own summary. */
  readonly summary: string
  readonly load: () => Promise<AnyCommand>
}

/** Every verb there is, in the order of `cxv --help`. A verb's file is loaded only when it is called. */
export const VERBS: readonly VerbEntry[] = []
