import { printable } from './text.ts'

/** How a code behaves: its exit status, its message, and the command that mends it. */
interface CodeInfo {
  readonly exit: number
  /** The same call may succeed later: a decorator may try again. */
  readonly retryable?: true
}

/**
 * Every error a user can meet. Codes are API (docs/errors.md, checked by a test); messages are not.
 * Exit statuses: 1 a bug in cxv, 2 usage, 3 partly done, 10 no repository, 11 locked, 12 auth,
 * 13 conflict, 14 corrupt or missing data, 15 network, 16 not found, 17 refused to protect data,
 * 18 no space or file system, 130 interrupted.
 */
export const CODES = {
  // usage and configuration
  USAGE: { exit: 2 },
  CONFIG_INVALID: { exit: 2 },
  TRAIN_CONFIG_INVALID: { exit: 2 },
  PATH_OUTSIDE: { exit: 2 },
  PATH_UNSUPPORTED: { exit: 2 },
  NOTHING_TO_DO: { exit: 2 },
  // repository
  REPO_NOT_FOUND: { exit: 10 },
  REPO_EXISTS: { exit: 2 },
  REPO_FORMAT: { exit: 10 },
  REPO_LOCKED: { exit: 11, retryable: true },
  INDEX_BUSY: { exit: 11, retryable: true },
  // history
  REV_UNKNOWN: { exit: 16 },
  REV_AMBIGUOUS: { exit: 2 },
  REF_EXISTS: { exit: 13 },
  REF_INVALID: { exit: 2 },
  REF_MOVED: { exit: 13 },
  NO_COMMITS: { exit: 2 },
  DETACHED_HEAD: { exit: 2 },
  NOT_FAST_FORWARD: { exit: 13 },
  // work tree
  PATH_NOT_FOUND: { exit: 16 },
  LOCAL_CHANGES: { exit: 17 },
  SYMLINK_IN_WAY: { exit: 17 },
  FILE_CHANGED: { exit: 3, retryable: true },
  // store
  CHUNK_MISSING: { exit: 14 },
  CHUNK_CORRUPT: { exit: 14 },
  PACK_CORRUPT: { exit: 14 },
  FORMAT_INVALID: { exit: 14 },
  TOO_LARGE: { exit: 14 },
  // remotes
  REMOTE_UNKNOWN: { exit: 16 },
  REMOTE_EXISTS: { exit: 13 },
  REMOTE_EMPTY: { exit: 16 },
  REMOTE_INVALID: { exit: 2 },
  REMOTE_CORRUPT: { exit: 14 },
  REMOTE_FAILED: { exit: 15, retryable: true },
  REMOTE_READ_ONLY: { exit: 12 },
  REMOTE_LACKS: { exit: 14 },
  PRECONDITION_FAILED: { exit: 13 },
  AUTH_FAILED: { exit: 12 },
  // tables, cohorts, pins
  TABLE_UNKNOWN: { exit: 16 },
  TABLE_EXISTS: { exit: 13 },
  TABLE_INVALID: { exit: 2 },
  TABLE_KEY: { exit: 2 },
  COLUMN_UNKNOWN: { exit: 2 },
  SQL_FAILED: { exit: 2 },
  LABEL_POLICY: { exit: 2 },
  SPLIT_INVALID: { exit: 2 },
  COHORT_EMPTY: { exit: 2 },
  DIRTY_TREE: { exit: 17 },
  IMAGE_UNREADABLE: { exit: 14 },
  // training and runs
  ENGINE_MISSING: { exit: 2 },
  ENGINE_FAILED: { exit: 1 },
  ENGINE_SETUP: { exit: 2 },
  RUN_UNKNOWN: { exit: 16 },
  RUN_MISMATCH: { exit: 17 },
  RUN_ACTIVE: { exit: 11 },
  TRAINING_DIVERGED: { exit: 3 },
  CHECKPOINT_INVALID: { exit: 14 },
  // the machine
  NO_SPACE: { exit: 18 },
  FILE_SYSTEM: { exit: 18 },
  INTERRUPTED: { exit: 130 },
} as const satisfies Readonly<Record<string, CodeInfo>>

export type ErrorCode = keyof typeof CODES

export interface ErrorExtras {
  /** The command that mends it, or what to do next. */
  readonly hint?: string
  /** Plain JSON with what a program needs: paths, ids, counts. */
  readonly data?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
}

/** An error a user can act on. Our own mistakes are plain `Error`s: the CLI prints their stack. */
export class CxvError extends Error {
  readonly code: ErrorCode
  readonly exit: number
  readonly retryable: boolean
  readonly hint: string | undefined
  readonly data: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, extras: ErrorExtras = {}) {
    super(printable(message), extras.cause === undefined ? {} : { cause: extras.cause })
    const info: CodeInfo = CODES[code]
    this.name = 'CxvError'
    this.code = code
    this.exit = info.exit
    this.retryable = info.retryable === true
    this.hint = extras.hint === undefined ? undefined : printable(extras.hint)
    this.data = extras.data ?? {}
  }
}

export const isCxvError = (error: unknown, code?: ErrorCode): error is CxvError =>
  error instanceof CxvError && (code === undefined || error.code === code)

/** The node error code (`ENOENT`, ...) of a system error. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
