import { createRandom } from '../../src/base/index.ts'

/** Bytes that are a function of the seed and that no codec can shrink. */
export function seededBytes(seed: number, length: number): Uint8Array {
  const random = createRandom(seed)
  const words = new Uint32Array(Math.ceil(length / 4))
  for (let i = 0; i < words.length; i++) words[i] = random.next() * 0x1_0000_0000
  return new Uint8Array(words.buffer, 0, length)
}

/** Text that shrinks well. */
export const seededText = (seed: number, lines: number): Uint8Array =>
  new TextEncoder().encode(
    Array.from({ length: lines }, (_, i) => `${i},patient ${(i * seed) % 97},Cardiomegaly\n`).join(
      '',
    ),
  )
