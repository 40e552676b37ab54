import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { contentId } from '../base/index.ts'
import type { CacheSpace } from '../store/types.ts'
import { type CachedStat, readStatCache, statChange, stillFresh } from './stat-cache.ts'

const ID = contentId('ab'.repeat(32))
const SECOND = 1_000_000_000n

/** Hashed a minute after its last change. */
const settled: CachedStat = {
  size: 10,
  mtimeNs: 1_700_000_000n * SECOND,
  ctimeNs: 1_700_000_001n * SECOND,
  ino: 7n,
  dev: 8n,
  executable: false,
  id: ID,
  checkedAt: 1_700_000_061_000,
}

test('a file is fresh only while size, both times, inode and device are as they were', () => {
  assert.ok(stillFresh(settled, settled))
  const changes: readonly Partial<CachedStat>[] = [
    { size: 11 },
    { mtimeNs: settled.mtimeNs + 1n },
    { ctimeNs: settled.ctimeNs + 1n },
    { ino: 9n },
    { dev: 9n },
  ]
  for (const change of changes) assert.ok(!stillFresh(settled, { ...settled, ...change }))
})

test('a file hashed within two seconds of its last change is not trusted', () => {
  const hashedAfter = (ms: number, over: Partial<CachedStat> = {}): boolean => {
    const entry = { ...settled, ...over, checkedAt: 1_700_000_001_000 + ms }
    return stillFresh(entry, entry)
  }
  assert.ok(hashedAfter(2_001))
  assert.ok(!hashedAfter(2_000))
  assert.ok(!hashedAfter(0))
  // A clock that was set back, or a file from the future.
  assert.ok(!hashedAfter(-5_000))
  assert.ok(!hashedAfter(60_000, { mtimeNs: 1_800_000_000n * SECOND }))
})

test('entries come back as they were written, and damaged ones are left out', async () => {
  const big = fc.bigInt({ min: 0n, max: (1n << 63n) - 1n })
  const anyEntry = fc.record({
    size: fc.nat(),
    mtimeNs: big,
    ctimeNs: big,
    ino: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    dev: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    executable: fc.boolean(),
    id: fc.constant(ID),
    checkedAt: fc.nat(),
  })
  await fc.assert(
    fc.asyncProperty(fc.string(), anyEntry, async (path, entry) => {
      const [key, value] = statChange(path, entry)
      assert.ok(value !== undefined)
      const space: Pick<CacheSpace, 'entries'> = {
        async *entries() {
          await Promise.resolve()
          yield [[key, value] as const, [`${key}-cut`, value.subarray(1)] as const]
        },
      }
      const all = await readStatCache(space as CacheSpace)
      assert.deepEqual({ ...all.get(path) }, { ...entry })
      assert.equal(all.get(`${path}-cut`), undefined)
    }),
    { numRuns: 50 },
  )
})
