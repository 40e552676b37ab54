import { type CommitId, fromUtf8, isRecord, parseJson, utf8 } from '../base/index.ts'
import type { CacheSpace } from '../store/types.ts'
import type { Status, WorkTreeState } from './types.ts'

/** What follows from a commit and a work tree, with nothing staged. */
export type WorkTreeStatus = Pick<Status, 'unstaged' | 'notCheckedOut' | 'tracked' | 'trackedBytes'>

/**
 * The last status: of which commit and work tree it was, and what came out. A walk that finds the same names
 * with the same facts gives the same again, so neither the manifest nor the stat cache need be read.
 */
export interface StatusRecord {
  /** @see WalkAhead.digests */
  readonly walk: Uint8Array
  readonly status: WorkTreeStatus
}

/** What the record is of. */
export interface RecordedFor {
  readonly commit: CommitId
  /** Whether files may be absent because only the history was cloned. */
  readonly partial: boolean
}

/** docs/format.md, "The stage and the stat cache" */
const KEY = 'status'
const VERSION = 1
/** With more to tell, telling it is what takes the time. */
const MAX_UNSTAGED = 1_000

/** @returns undefined where there is none, or one of another commit */
export async function readStatusRecord(
  cache: CacheSpace,
  { commit, partial }: RecordedFor,
): Promise<StatusRecord | undefined> {
  const bytes = await cache.get(KEY)
  if (bytes === undefined) return undefined
  let value: unknown
  try {
    value = parseJson(fromUtf8(bytes))
  } catch {
    return undefined
  }
  if (!isRecord(value) || value['version'] !== VERSION) return undefined
  if (value['commit'] !== commit || value['partial'] !== partial) return undefined
  const { walk, status } = value
  if (typeof walk !== 'string' || !isWorkTreeStatus(status)) return undefined
  return { walk: Buffer.from(walk, 'base64'), status }
}

/** Keeps it in place of the one before, unless it tells too much. */
export async function writeStatusRecord(
  cache: CacheSpace,
  of: RecordedFor,
  { walk, status }: StatusRecord,
): Promise<void> {
  const kept = status.unstaged.length <= MAX_UNSTAGED
  const value = { version: VERSION, ...of, walk: Buffer.from(walk).toString('base64'), status }
  await cache.write([[KEY, kept ? utf8(JSON.stringify(value)) : undefined]])
}

const STATES: readonly string[] = [
  'modified',
  'deleted',
  'untracked',
] satisfies readonly WorkTreeState[]

function isWorkTreeStatus(value: unknown): value is WorkTreeStatus {
  if (!isRecord(value)) return false
  const { unstaged, notCheckedOut, tracked, trackedBytes } = value
  const isRow = (row: unknown): boolean =>
    isRecord(row) &&
    typeof row['path'] === 'string' &&
    STATES.includes(String(row['state'])) &&
    typeof row['size'] === 'number'
  return (
    [notCheckedOut, tracked, trackedBytes].every((n) => typeof n === 'number') &&
    Array.isArray(unstaged) &&
    unstaged.every(isRow)
  )
}
