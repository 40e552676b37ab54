import type { CommitId, Context } from '../base/index.ts'
import type { ManifestRow, TableDeclaration } from '../format/index.ts'

export type { ManifestRow, TableDeclaration }

export interface Person {
  readonly name: string
  readonly email: string
}

export interface CommitFacts {
  readonly id: CommitId
  readonly parents: readonly CommitId[]
  readonly message: string
  readonly author: Person
  /** Milliseconds since 1970. */
  readonly timeMs: number
  /** What `Date.getTimezoneOffset` says: -120 is git's +0200. */
  readonly zoneMinutes: number
}

export interface DatasetCommit extends CommitFacts {
  readonly files: number
  readonly bytes: number
  readonly tables: readonly TableDeclaration[]
}

export type RowChange =
  | { readonly change: 'added'; readonly path: string; readonly after: ManifestRow }
  | { readonly change: 'removed'; readonly path: string; readonly before: ManifestRow }
  | {
      readonly change: 'changed'
      readonly path: string
      readonly before: ManifestRow
      readonly after: ManifestRow
    }

export interface RefRow {
  /** Full name: refs/heads/main */
  readonly name: string
  /** Of an annotated tag: of the tag itself. Every method that reads a commit takes it as well. */
  readonly id: CommitId
}

export interface ReflogRow {
  readonly from: CommitId | null
  readonly to: CommitId
  readonly timeMs: number
  readonly reason: string
}

export interface TagFacts {
  readonly name: string
  readonly message: string
  readonly tagger: Person | undefined
  readonly timeMs: number | undefined
}

export interface Head {
  /** Full branch ref, or null when detached. */
  readonly branch: string | null
  /** Null before the first commit. */
  readonly commit: CommitId | null
}

/** A file of the history that is not as it was written. */
export interface DamagedFile {
  /** Its path in the git folder: `objects/pack/pack-....pack`. */
  readonly file: string
  readonly problem: string
}

/** What became of a damaged file. */
export interface MovedFile extends DamagedFile {
  readonly to: string
  /** Sound objects of it, which are in a new pack now. */
  readonly kept: number
}

export interface RefProblem {
  readonly ref: string
  readonly problem: string
  /** Where all can be read, and it is this version alone that is wrong. */
  readonly commit?: CommitId
}

export interface NewCommit {
  readonly rows: readonly ManifestRow[]
  readonly tables: readonly TableDeclaration[]
  readonly parents: readonly CommitId[]
  readonly message: string
  readonly author: Person
  readonly timeMs: number
  readonly zoneMinutes: number
}

/** Commits and refs. Every write is durable and ordered: objects first, then the ref. */
export interface History {
  head(): Promise<Head>
  /** Points HEAD at a branch (`refs/heads/x`, may be unborn) or, detached, at a commit. */
  setHead(target: string | CommitId, reason: string): Promise<void>
  /** HEAD, HEAD~2, HEAD^, branch, remote/branch, tag, run id, short commit id (>= 4). @throws REV_UNKNOWN, REV_AMBIGUOUS, NO_COMMITS */
  resolve(revision: string): Promise<CommitId>
  read(id: CommitId): Promise<DatasetCommit>
  has(id: CommitId): Promise<boolean>
  /** Newest first, parents after children; each commit once. Run commits are left out unless asked for. */
  log(
    from: readonly CommitId[],
    options?: { readonly limit?: number },
  ): AsyncIterable<DatasetCommit>
  /**
   * All rows sorted by path (UTF-8 bytes). `null` is the empty manifest.
   * @param options.asWritten also rows that no checkout could write, a path being a file and a folder:
   * to look at such a version, to leave it and to mend it, never to check it out
   * @param options.ctx is told how far it is
   * @throws FORMAT_INVALID
   */
  manifest(
    id: CommitId | null,
    options?: { readonly asWritten?: boolean; readonly ctx?: Context },
  ): Promise<readonly ManifestRow[]>
  /** Rows under a folder or one file; reads only the shards that can hold them. */
  rowsUnder(id: CommitId, path: string): Promise<readonly ManifestRow[]>
  /** Sorted by path; reads only shards whose ids differ. */
  diff(before: CommitId | null, after: CommitId | null): AsyncIterable<RowChange>
  /**
   * Writes shards (only those that differ from the parents'), trees and a commit; moves no ref. `rows` sorted by path.
   * @param ctx is told how far it is
   * @throws PATH_UNSUPPORTED before anything is written, for rows with a path that is a file and a folder
   */
  writeCommit(input: NewCommit, ctx?: Context): Promise<CommitId>
  /** A commit whose tree holds the given files (names may contain one `/`), child of `parents`. Moves no ref. */
  writeRecordCommit(input: {
    readonly files: ReadonlyMap<string, Uint8Array>
    readonly parents: readonly CommitId[]
    readonly message: string
    readonly author: Person
    readonly timeMs: number
    readonly zoneMinutes: number
  }): Promise<CommitId>
  /** What an annotated tag says; undefined when the id is a commit's. */
  tag(id: CommitId): Promise<TagFacts | undefined>
  /** An annotated tag object that names a commit. Moves no ref; the id goes into refs/tags/<name>. */
  writeTag(input: {
    readonly target: CommitId
    readonly name: string
    readonly message: string
    readonly author: Person
    readonly timeMs: number
    readonly zoneMinutes: number
  }): Promise<CommitId>
  /** A commit's facts without reading it as a dataset: works for run commits as well. */
  facts(id: CommitId): Promise<CommitFacts>
  /** A file of a commit's tree (`run.json`), or undefined. @throws TOO_LARGE over maxBytes (default 64 MiB) */
  readFile(id: CommitId, path: string, maxBytes?: number): Promise<Uint8Array | undefined>
  ref(name: string): Promise<CommitId | null>
  refs(prefix: string): Promise<readonly RefRow[]>
  /** Compare-and-swap, durable, with a reflog entry (tags have none). `to: null` deletes. @throws REF_MOVED, REF_INVALID */
  casRef(name: string, from: CommitId | null, to: CommitId | null, reason: string): Promise<void>
  reflog(name: string): Promise<readonly ReflogRow[]>
  isAncestor(ancestor: CommitId, of: CommitId): Promise<boolean>
  /** A git pack with everything reachable from `want` and not from `have`; undefined when there is nothing. */
  exportPack(want: readonly CommitId[], have: readonly CommitId[]): Promise<Uint8Array | undefined>
  /** Adds a git pack's objects after checking them. @throws FORMAT_INVALID */
  importPack(pack: Uint8Array): Promise<void>
  /**
   * Objects reachable from refs that are absent, unreadable or wrong, by ref. Empty: fine.
   * @param ctx is told how far it is
   */
  check(ctx?: Context): Promise<readonly RefProblem[]>
  /** Files of the history that are not as they were written, needed or not. */
  damagedFiles(): Promise<readonly DamagedFile[]>
  /** Keeps what is sound of damaged files in a new pack, and moves them to `badFolder`. */
  repairFiles(badFolder: string): Promise<readonly MovedFile[]>
  /** Whether a repair left holes: the next fetch then brings all history again. */
  incomplete(): boolean
  setIncomplete(incomplete: boolean): void
}
