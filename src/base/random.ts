/** A seeded generator of uniform numbers: same seed, same numbers, on every machine. */
export interface Random {
  /** Uniform in [0, 1) with 32 bits. */
  next(): number
  /** Integer, uniform in [0, n). */
  int(n: number): number
  /** Standard normal (Box-Muller). */
  normal(): number
  /** Fisher-Yates, in place. Returns its argument. */
  shuffle<T extends { length: number; [i: number]: unknown }>(items: T): T
}

/**
 * A 32-bit key from parts, FNV-1a with a murmur3 finaliser. Used to derive independent streams:
 * order from (seed, epoch), augmentation from (seed, epoch, sample), initialisers from (seed, name).
 */
export function seedOf(...parts: readonly (number | string)[]): number {
  let h = 0x811c9dc5
  for (const part of parts) {
    const text = `${typeof part === 'number' ? 'n' : 's'}${part}\u0000`
    for (let i = 0; i < text.length; i++) {
      h ^= text.charCodeAt(i)
      h = Math.imul(h, 0x01000193)
    }
  }
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** sfc32 (Chris Doty-Humphrey, PractRand), seeded through splitmix-like mixing of one 32-bit seed. */
export function createRandom(seed: number): Random {
  let a = seedOf(seed, 'a')
  let b = seedOf(seed, 'b')
  let c = seedOf(seed, 'c')
  let d = 1
  const next32 = (): number => {
    const t = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + t) | 0
    return t >>> 0
  }
  for (let i = 0; i < 12; i++) next32()
  const next = (): number => next32() / 4294967296
  return {
    next,
    int: (n) => Math.floor(next() * n),
    normal() {
      const u = 1 - next()
      return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * next())
    },
    shuffle(items) {
      for (let i = items.length - 1; i > 0; i--) {
        const j = Math.floor(next() * (i + 1))
        const kept = items[i]
        items[i] = items[j]
        items[j] = kept
      }
      return items
    },
  }
}
