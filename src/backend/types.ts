/**
 * A key: `/` separated parts of `[A-Za-z0-9._-]`, none beginning with `.`, at most 512 characters.
 * (Names that begin with a dot are the implementation's own: temporaries, locks.)
 */
export type Key = string

export interface ByteRange {
  readonly offset: number
  readonly length: number
}

export interface ObjectInfo {
  readonly key: Key
  readonly size: number
  /** Changes with every put of the key; opaque. */
  readonly etag: string
}

export interface BackendCaps {
  /** `put` honours ifMatch atomically. A remote without it is read-only. */
  readonly compareAndSwap: boolean
  readonly write: boolean
}

interface Abortable {
  readonly signal?: AbortSignal
}

interface Watched {
  /**
   * Told of bytes of the body as they pass, to show that a large one is on its way. An implementation
   * may ignore it; one that calls it tells of every byte once by the time the call resolves.
   */
  readonly onBytes?: (bytes: number) => void
}

/**
 * Keys and bytes, nothing else. Must: be durable when put() resolves; read its own writes; never show
 * part of a put; resolve concurrent conditional puts so that exactly one wins.
 */
export interface Backend {
  /** Printable: credentials removed. */
  readonly url: string
  readonly caps: BackendCaps
  /**
   * Absent: undefined. A range beyond the end, or a short body, is an error. The bytes are the caller's,
   * with the buffer they lie in.
   * @param options.into memory to read into, if that spares memory of its own and it is large enough: the
   *   bytes are then a view of it
   */
  get(
    key: Key,
    range?: ByteRange,
    options?: Abortable & Watched & { readonly into?: Uint8Array },
  ): Promise<{ readonly bytes: Uint8Array; readonly etag: string } | undefined>
  stat(key: Key, options?: Abortable): Promise<ObjectInfo | undefined>
  /** Every object whose key starts with the prefix, in no order. */
  list(prefix: string, options?: Abortable): AsyncIterable<ObjectInfo>
  /** `ifMatch`: the etag it must have now, or null for "must not exist". @throws PRECONDITION_FAILED */
  put(
    key: Key,
    body: Uint8Array,
    options?: Abortable & Watched & { readonly ifMatch?: string | null },
  ): Promise<ObjectInfo>
  /**
   * The path of the file that is this object, on this machine; undefined where there is none. To be read only,
   * and only through no symlink. Left out by implementations whose objects are no files here.
   */
  file?(key: Key): string | undefined
  /** Deleting an absent key succeeds. */
  delete(key: Key, options?: Abortable): Promise<void>
  close(): Promise<void>
}
