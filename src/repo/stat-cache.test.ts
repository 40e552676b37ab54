import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { compareUtf8, contentId } from '../base/index.ts'
import type { CacheSpace } from '../store/types.ts'
import {
  type CachedStat,
  encodeFacts,
  FACTS_BYTES,
  knownAsWritten,
  readRowStats,
  readStatCache,
  type StatCache,
  statChange,
} from './stat-cache.ts'

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

/** The space of a repository that holds these entries. */
function spaceOf(...changes: ReturnType<typeof statChange>[]): CacheSpace {
  const space: Pick<CacheSpace, 'entries'> = {
    async *entries(prefix) {
      await Promise.resolve()
      yield changes.flatMap(([key, value]) => {
        assert.ok(key.startsWith(prefix))
        return value === undefined ? [] : [[key.slice(prefix.length), value] as const]
      })
    },
  }
  return space as CacheSpace
}

const cacheOf = (...changes: ReturnType<typeof statChange>[]): Promise<StatCache> =>
  readStatCache(spaceOf(...changes))

const isFresh = async (cached: CachedStat, now: CachedStat): Promise<boolean> =>
  (await cacheOf(statChange('a.png', cached))).vouched('a.png', now) === cached.id

test('a file is fresh only while size, both times, inode and device are as they were', async () => {
  assert.ok(await isFresh(settled, settled))
  const changes: readonly Partial<CachedStat>[] = [
    { size: 11 },
    { mtimeNs: settled.mtimeNs + 1n },
    { ctimeNs: settled.ctimeNs + 1n },
    { ino: 9n },
    { dev: 9n },
  ]
  for (const change of changes) assert.ok(!(await isFresh(settled, { ...settled, ...change })))
  assert.equal((await cacheOf()).vouched('a.png', settled), undefined)
})

test('a file that cxv wrote is trusted at once where times are fine', async () => {
  const written = (over: Partial<CachedStat>): CachedStat =>
    knownAsWritten({ ...settled, ...over }, ID)
  const fine = written({ ctimeNs: settled.ctimeNs + 1_234_567n })
  assert.ok(await isFresh(fine, fine))
  assert.ok(!(await isFresh(fine, { ...fine, ctimeNs: fine.ctimeNs + 1n })))
  for (const step of [1_000_000n, 10_000_000n, SECOND]) {
    const coarse = written({ ctimeNs: settled.ctimeNs + step })
    assert.ok(!(await isFresh(coarse, coarse)), `${step} ns`)
  }
})

test('a file hashed within two seconds of its last change is not trusted', async () => {
  const hashedAfter = (ms: number, over: Partial<CachedStat> = {}): Promise<boolean> => {
    const entry = { ...settled, ...over, checkedAt: 1_700_000_001_000 + ms }
    return isFresh(entry, entry)
  }
  assert.ok(await hashedAfter(2_001))
  assert.ok(!(await hashedAfter(2_000)))
  assert.ok(!(await hashedAfter(0)))
  // A clock that was set back, or a file from the future.
  assert.ok(!(await hashedAfter(-5_000)))
  assert.ok(!(await hashedAfter(60_000, { mtimeNs: 1_800_000_000n * SECOND })))
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
      const cut = [`${key}-cut`, value?.subarray(1)] as const
      const many = Array.from({ length: 1_500 }, (_, i) => statChange(`${path}/${i}`, settled))
      const all = await cacheOf(...many, [key, value], cut)
      assert.deepEqual({ ...all.get(path) }, { ...entry })
      assert.deepEqual(all.get(`${path}/1499`), settled)
      assert.equal(all.get(`${path}-cut`), undefined)
    }),
    { numRuns: 50 },
  )
})

test('of rows, each is vouched for as by its path, whatever else either side has', async () => {
  const paths = fc.uniqueArray(
    // U+FF61 sorts before U+1F600 by UTF-8 bytes and behind it by UTF-16 units.
    fc.string({ unit: fc.constantFrom('a', 'b', '/', '-', '\uff61', '\u{1f600}'), maxLength: 4 }),
    { maxLength: 12 },
  )
  const id = (path: string) => contentId(createHash('sha256').update(path).digest('hex'))
  await fc.assert(
    fc.asyncProperty(paths, paths, async (inCache, inRows) => {
      const space = spaceOf(
        ...inCache.sort(compareUtf8).map((path) => statChange(path, { ...settled, id: id(path) })),
      )
      const rows = inRows.sort(compareUtf8).map((path) => ({ path }))
      const facts = new Uint8Array(FACTS_BYTES + 3)
      encodeFacts(settled, facts, 3)
      const stats = await readRowStats(space, rows)
      const byPath = await readStatCache(space)
      for (const [place, { path }] of rows.entries()) {
        const vouched = stats.vouched(place, facts, 3)
        assert.equal(vouched, byPath.vouched(path, settled))
        assert.equal(vouched, inCache.includes(path) ? id(path) : undefined)
      }
    }),
    { numRuns: 200 },
  )
})
