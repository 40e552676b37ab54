import type { ContentId, PackId } from '../base/index.ts'

export interface Locator {
  readonly pack: PackId
  /** Byte offset of the frame in the pack. */
  readonly offset: number
  /** Bytes of the whole frame, header included. */
  readonly length: number
  /** Bytes after decoding. */
  readonly plainLength: number
}

export interface FileToAdd {
  /** Path in the repository, `/` separated. Packs are filled in this order. */
  readonly path: string
  readonly absolutePath: string
}

/** Facts of the file as it was when its bytes were read (nanoseconds as decimal strings of bigint). */
export interface StatFacts {
  readonly size: number
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  readonly ino: bigint
  readonly dev: bigint
  readonly executable: boolean
}

export type AddedFile =
  | {
      readonly path: string
      readonly status: 'added' | 'known'
      readonly id: ContentId
      readonly stat: StatFacts
      /** Plain bytes that were new to the store. */
      readonly newBytes: number
    }
  /** The file could not be read, or changed while it was read. Nothing of it is referenced. */
  | {
      readonly path: string
      readonly status: 'failed'
      readonly code: string
      readonly message: string
    }

export interface FileToMaterialise {
  readonly id: ContentId
  readonly size: number
  readonly executable: boolean
  /** Where the file goes. Its parent folder exists and was checked to hold no symlink. */
  readonly absolutePath: string
}

/** Files of the work tree that were written, with their facts right after. */
export type Materialised = readonly { readonly absolutePath: string; readonly stat: StatFacts }[]

export interface PackImporter {
  /** Packs that are taken in at the same time, each by a thread. */
  readonly width: number
  /**
   * Verifies the bytes (name, frames, chunk ids), publishes the pack and indexes it. Idempotent.
   * @param bytes handed over with the buffer they lie in, which may move to another thread meanwhile
   * @param files to write as `materialise` does, from the bytes at hand
   * @returns the files that were written, those whose content is one chunk of this pack; and the bytes,
   *   whose memory is the caller's again
   * @throws PACK_CORRUPT
   */
  import(
    id: PackId,
    bytes: Uint8Array<ArrayBuffer>,
    files?: readonly FileToMaterialise[],
  ): Promise<{ readonly written: Materialised; readonly bytes: Uint8Array<ArrayBuffer> }>
  /**
   * As `import`, by a hard link to a file on this machine: the bytes are read and verified, not copied.
   * @returns undefined where that cannot be: another file system, another user's file, one that others can write,
   *   another size. Nothing was taken in then
   * @throws PACK_CORRUPT
   */
  importLink(
    id: PackId,
    pack: { readonly path: string; readonly sizeBytes: number },
    files?: readonly FileToMaterialise[],
  ): Promise<Materialised | undefined>
  close(): Promise<void>
}

export interface StoreStats {
  readonly packs: number
  readonly bytes: number
  readonly chunks: number
  readonly recipes: number
}

export interface VerifyReport {
  readonly packsChecked: number
  readonly framesChecked: number
  readonly bytesChecked: number
  /** Contents whose chunks are absent or do not match their id. */
  readonly lost: readonly { readonly id: ContentId; readonly reason: 'missing' | 'corrupt' }[]
  /** Packs with bytes that are not as they were written. Without `repair` they stay where they are. */
  readonly damaged: readonly {
    readonly pack: PackId
    /** Frames of it that still hold what they promise. */
    readonly readable: number
  }[]
  /** Packs moved to .cxv/bad/ because they were damaged; their good frames were kept. */
  readonly setAside: readonly {
    readonly pack: PackId
    readonly to: string
    readonly kept: number
  }[]
  /** Leftover temporary files of killed processes that were removed. */
  readonly leftovers: number
  /** The index disagreed with the packs and was rebuilt. */
  readonly indexRebuilt: boolean
}

/** Reads contents by id. Every byte returned was verified against the id. */
export interface ContentReader {
  /** Contents that cannot be read here: absent, or a recipe with an absent chunk. */
  missing(ids: readonly ContentId[]): Promise<Set<ContentId>>
  /** @throws CxvError CHUNK_MISSING, CHUNK_CORRUPT, TOO_LARGE (over maxBytes, default 1 GiB) */
  read(id: ContentId, options?: { readonly maxBytes?: number }): Promise<Uint8Array>
  /** Grouped by pack and read in pack order; each id once, in that order, not in the order asked. */
  readMany(ids: readonly ContentId[]): AsyncIterable<readonly [ContentId, Uint8Array]>
  /** Pieces in order; a mismatch is thrown before the last piece is given out. */
  stream(id: ContentId): AsyncIterable<Uint8Array>
  close(): Promise<void>
}

export interface Store extends ContentReader {
  /** Stores bytes that are not a file of the work tree: run weights, plots, sample lists. Durable on return. */
  put(bytes: Uint8Array): Promise<ContentId>
  /**
   * Reads, hashes, deduplicates and packs files on worker threads. Results come in batches in path
   * order after their packs are durable and indexed. A file that fails is a result, not an exception.
   */
  addFiles(
    files: Iterable<FileToAdd>,
    /** `onBytes`: what was read since its last call. */
    options?: { readonly onBytes?: (files: number, bytes: number) => void },
  ): AsyncIterable<readonly AddedFile[]>
  /**
   * Writes files (temporary name, rename) on worker threads, in the order their bytes lie in packs.
   * Yields each batch's facts for the stat cache. `onBytes`: what was written since its last call.
   * @throws CxvError CHUNK_MISSING, CHUNK_CORRUPT; nothing half-written is left under a file's own name
   */
  materialise(
    files: readonly FileToMaterialise[],
    options?: { readonly onBytes?: (files: number, bytes: number) => void },
  ): AsyncIterable<Materialised>
  packs(): Promise<readonly PackId[]>
  /** Which packs hold the frames of these contents (chunks and recipes). Absent ones are left out. */
  packsHolding(ids: readonly ContentId[]): Promise<ReadonlyMap<PackId, readonly ContentId[]>>
  /**
   * Which frames of which packs these contents are read from, `chunk` or `recipe` and the id in hex:
   * the places that the index prefers, of several. Absent contents are left out.
   */
  framesHolding(ids: readonly ContentId[]): Promise<ReadonlyMap<PackId, ReadonlySet<string>>>
  packPath(id: PackId): string
  /** Takes in packs that come from elsewhere. Close it when they have come: it may hold threads. */
  openImporter(): PackImporter
  /** Re-packs single verified frames that came by ranged reads. Durable and indexed on return. */
  importFrames(frames: AsyncIterable<Uint8Array>): Promise<number>
  stats(): Promise<StoreStats>
  /**
   * Checks packs and, for the contents given, that every one can be read back.
   * `deep` reads and hashes all bytes; otherwise sizes and tables of packs are compared with the
   * index, and of the frames only those of damaged packs are read.
   */
  verify(
    contents: AsyncIterable<ContentId> | Iterable<ContentId>,
    options: {
      readonly deep: boolean
      readonly repair: boolean
      /** What was checked since its last call. */
      readonly onBytes?: (frames: number, bytes: number) => void
    },
  ): Promise<VerifyReport>
  /**
   * A reader that holds no lock and no LevelDB handle: locators are resolved now, once. For training.
   * @throws CxvError CHUNK_MISSING naming how many are absent
   */
  pinnedReader(ids: readonly ContentId[]): Promise<ContentReader>
  /** Key-value space of the same LevelDB for the repo room: stat cache and stage. A cache like the rest. */
  readonly cache: CacheSpace
}

/** Sorted byte-string map inside the index. */
export interface CacheSpace {
  get(key: string): Promise<Uint8Array | undefined>
  getMany(keys: readonly string[]): Promise<readonly (Uint8Array | undefined)[]>
  /** Entries whose key starts with the prefix, by what follows it, in key order (UTF-8 bytes), in batches. */
  entries(prefix: string): AsyncIterable<readonly (readonly [string, Uint8Array])[]>
  /** Atomic. `undefined` deletes. */
  write(changes: Iterable<readonly [string, Uint8Array | undefined]>): Promise<void>
  /**
   * After very many deletions under a prefix: gives their room back. Until then every reader of the prefix, and
   * the next to open the index, goes through them.
   */
  compact(prefix: string): Promise<void>
}
