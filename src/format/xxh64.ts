import xxhash from 'xxhash-wasm'

/** XXH64 with seed 0. Never an identity (docs/design.md 3.1): boundaries, names of shards, quick checks. */
export interface Xxh64 {
  /** Of the text's UTF-8 bytes. */
  ofText(text: string): bigint
  ofBytes(bytes: Uint8Array): bigint
}

let loaded: Promise<Xxh64> | undefined

/** The hasher, compiled once per process (6 ms). */
export function loadXxh64(): Promise<Xxh64> {
  loaded ??= xxhash().then(({ h64, h64Raw }) => ({
    ofText: (text) => h64(text),
    ofBytes: (bytes) => h64Raw(bytes),
  }))
  return loaded
}

/** 16 lower-case hex digits. */
export const hex64 = (hash: bigint): string => hash.toString(16).padStart(16, '0')
