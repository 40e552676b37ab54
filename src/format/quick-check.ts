import xxhash from 'xxhash-wasm'

// At load, not on first use: codecs are synchronous. Compiling takes 4 ms.
const hasher = await xxhash()

/** XXH64 (Yann Collet) of bytes, for the quick checks of packs. Never an identity. */
export const quickHash = (bytes: Uint8Array, seed = 0n): bigint => hasher.h64Raw(bytes, seed)
