import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deflateSync } from 'node:zlib'
import { checkDeltaChain, type DeltaEntry } from './deltas.ts'

const nowhere = (): never => assert.fail('the chain was followed')

/** gitformat-pack(5): 7 bits at a time, lowest first. */
function size(n: number): number[] {
  const out: number[] = []
  let rest = n
  do {
    out.push((rest % 128) | (rest > 127 ? 0x80 : 0))
    rest = Math.floor(rest / 128)
  } while (rest > 0)
  return out
}

function head(code: number, n: number): Buffer {
  const rest = Math.floor(n / 16)
  const first = (code << 4) | (n & 15)
  return rest === 0 ? Buffer.from([first]) : Buffer.from([first | 0x80, ...size(rest)])
}

const whole = (bytes: Buffer, declared = bytes.length): DeltaEntry => ({
  bytes: Buffer.concat([head(3, declared), deflateSync(bytes)]),
  before: nowhere,
  byId: nowhere,
})

/** A delta at distance 5 from its base. */
function delta(base: () => DeltaEntry, plain: Buffer, declared = plain.length): DeltaEntry {
  return {
    bytes: Buffer.concat([head(6, declared), Buffer.from([5]), deflateSync(plain)]),
    before: (distance) => {
      assert.equal(distance, 5)
      return base()
    },
    byId: nowhere,
  }
}

const sizes = (base: number, result: number): Buffer =>
  Buffer.from([...size(base), ...size(result)])
const refused = (entry: DeltaEntry): void =>
  assert.throws(() => checkDeltaChain(entry), { code: 'FORMAT_INVALID' })

test('a chain that stays within what it declares passes', () => {
  const base = whole(Buffer.alloc(1000))
  checkDeltaChain(delta(() => delta(() => base, sizes(1000, 1000)), sizes(1000, 2000)))
})

test('a chain that inflates to more, makes too much, or never ends is refused', () => {
  refused(whole(Buffer.alloc(1 << 20), 100))
  refused(delta(() => whole(Buffer.alloc(10)), Buffer.alloc(1 << 20), 100))
  refused(delta(() => whole(Buffer.alloc(1 << 20), 100), sizes(100, 100)))
  refused(delta(() => whole(Buffer.alloc(10)), sizes(10, 2 ** 30)))
  refused(delta(() => whole(Buffer.alloc(10)), sizes(2 ** 30, 10)))
  refused(delta(() => whole(Buffer.alloc(10)), Buffer.alloc(20, 0xff)))
  const loop: DeltaEntry = delta(() => loop, sizes(10, 10))
  refused(loop)
})
