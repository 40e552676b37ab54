import type { Backend } from '../backend/types.ts'
import type { CommitId } from '../base/index.ts'
import type { CheckoutAhead } from '../repo/index.ts'

/** A remote that is open: the name it has here, and its keys and bytes. */
export interface Remote {
  readonly name: string
  readonly backend: Backend
}

/** How two branches differ. */
export interface Divergence {
  /** Commits that only this side has. */
  readonly ahead: number
  /** Commits that only the remote has. */
  readonly behind: number
  /** Files of the remote's commit against this side's. */
  readonly added: number
  readonly changed: number
  readonly removed: number
}

export interface PushOptions {
  /** Names of local branches. None: the current one. */
  readonly branches?: readonly string[]
  readonly all?: boolean
  /** Every tag, not only those of commits that are pushed. */
  readonly tags?: boolean
  /** Believes nothing: lists what the remote really holds and mends it. */
  readonly recheck?: boolean
  readonly dryRun?: boolean
}

export interface PushedRef {
  readonly ref: string
  /** `behind`: the remote has more commits, there is nothing to push. */
  readonly status: 'created' | 'updated' | 'up to date' | 'behind'
  readonly from: CommitId | null
  readonly to: CommitId
}

export interface PushResult {
  readonly remote: string
  readonly url: string
  readonly dryRun: boolean
  readonly refs: readonly PushedRef[]
  readonly commits: number
  /** Contents (files and run records' files) the remote lacked. */
  readonly contents: number
  readonly packs: number
  readonly bytes: number
  /** Packs that were there from a push that did not end. */
  readonly packsAlreadyThere: number
  /** `--recheck`: packs that the remote's index names and that were absent or of another size. */
  readonly packsLost: number
}

export interface FetchOptions {
  /** Branches of the remote. None: all. */
  readonly branches?: readonly string[]
  /** Also the bytes of every version and run that is new here; false: history only. */
  readonly data: boolean
  /** Looks for the bytes of all versions, not only the new ones. */
  readonly recheck?: boolean
  /** Called when the history is here and no ref has moved: may throw to stop. */
  readonly beforeData?: () => Promise<void>
  /** Packs of a remote on this disk become hard links to its files, where they can. */
  readonly link?: boolean
  /** Begins a checkout that goes along with the bytes. */
  readonly checkout?: () => Promise<CheckoutAhead>
}

export interface FetchedRef {
  readonly ref: string
  readonly status: 'created' | 'updated' | 'kept'
  readonly from: CommitId | null
  readonly to: CommitId
}

export interface FetchResult {
  readonly remote: string
  readonly url: string
  /** Refs that changed here; `kept`: a tag or run that is another here. */
  readonly refs: readonly FetchedRef[]
  readonly commits: number
  readonly runs: number
  readonly contents: number
  readonly packs: number
  /** Packs that are hard links to the remote's. */
  readonly packsLinked: number
  readonly bytes: number
}

export interface PullOptions {
  /** Branch of the remote. Default: the one of the current branch's name. */
  readonly branch?: string
  readonly data: boolean
  readonly recheck?: boolean
}

export interface PullResult {
  readonly fetch: FetchResult
  /** The local branch. */
  readonly branch: string
  readonly status: 'up to date' | 'fast forward' | 'created' | 'ahead'
  readonly from: CommitId | null
  readonly to: CommitId
  /** Files written and removed in the work tree. */
  readonly written: number
  readonly removed: number
  readonly writtenBytes: number
}

export interface CloneOptions {
  /** Default: the remote's own. */
  readonly branch?: string
  readonly data: boolean
  /** Packs of a remote on this disk are hard links to its files, where they can be, as in git. */
  readonly hardlinks: boolean
}

export interface CloneResult extends PullResult {
  readonly folder: string
  /** A clone that had been interrupted was finished. */
  readonly resumed: boolean
}
