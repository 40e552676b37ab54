import type { CommitId } from '../base/index.ts'
import type { History, ManifestRow, Person, TableDeclaration } from '../history/types.ts'
import type { Store } from '../store/types.ts'

export interface RemoteConfig {
  readonly url: string
}

/** `.cxv/config.json`. Never a secret, never a command: a cloned repository is hostile input. */
export interface RepoConfig {
  readonly version: 1
  readonly remotes: Readonly<Record<string, RemoteConfig>>
  /** Tables as they will be in the next commit. */
  readonly tables: readonly TableDeclaration[]
  readonly defaults: { readonly remote?: string; readonly engine?: string }
  /** Only the history was cloned: a tracked file that is not on disk is "not checked out", not deleted. */
  readonly partial?: boolean
}

export type StageChange =
  | { readonly path: string; readonly change: 'put'; readonly row: ManifestRow }
  | { readonly path: string; readonly change: 'remove' }

export type WorkTreeState = 'modified' | 'deleted' | 'untracked'

export interface Status {
  readonly branch: string | null
  readonly commit: CommitId | null
  /** Staged against HEAD. */
  readonly staged: readonly {
    readonly path: string
    readonly change: 'added' | 'changed' | 'removed'
    readonly size: number
  }[]
  /** Work tree against stage. */
  readonly unstaged: readonly {
    readonly path: string
    readonly state: WorkTreeState
    readonly size: number
  }[]
  readonly tablesChanged: boolean
  /** Tracked files that are not on disk because only the history was cloned. */
  readonly notCheckedOut: number
  readonly tracked: number
  readonly trackedBytes: number
}

/** An open repository. Close it with `await using`. */
export interface Repository extends AsyncDisposable {
  /** Absolute path of the work tree. */
  readonly root: string
  /** Absolute path of `.cxv`. */
  readonly folder: string
  readonly history: History
  /** Opens the LevelDB index on first use; waits for another process that has it. */
  store(): Promise<Store>
  /** Closes the index so that other processes can have it (training does this before its first batch). */
  releaseStore(): Promise<void>
  config(): Promise<RepoConfig>
  updateConfig(change: (config: RepoConfig) => RepoConfig): Promise<RepoConfig>
  /** From CXV_AUTHOR_NAME/EMAIL, git's configuration, or the user and host. */
  identity(): Promise<Person>
  /**
   * Runs fn while holding the writer lock. Re-entrant within one Repository. While it waits for another
   * writer the index is closed: a store from before must not be used in `fn` or after.
   */
  withWriteLock<T>(what: string, fn: () => Promise<T>): Promise<T>
  /** HEAD's rows with the stage applied, sorted by path. */
  stagedRows(): Promise<readonly ManifestRow[]>
  /** Content id of a path as staged, if tracked. */
  stagedRow(path: string): Promise<ManifestRow | undefined>
  /** What the stage or a tracked file on disk has otherwise than HEAD: paths, sorted, and declared tables. */
  changes(): Promise<{ readonly paths: readonly string[]; readonly tables: boolean }>
  /** Path given by a user (relative to `cwd`, or absolute) as a repository path. @throws PATH_OUTSIDE */
  toRepoPath(cwd: string, path: string): string
}

export interface CheckoutPlan {
  readonly write: readonly ManifestRow[]
  readonly remove: readonly string[]
  readonly bytes: number
}

export type { ManifestRow, TableDeclaration }
