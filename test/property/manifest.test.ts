import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { compareUtf8, isCxvError } from '../../src/base/index.ts'
import { decodeShard, encodeShard, escapePath, unescapePath } from '../../src/format/index.ts'
import { createHistory } from '../../src/history/index.ts'
import type { CommitId } from '../../src/base/index.ts'
import type { History, ManifestRow, RowChange } from '../../src/history/types.ts'
import { rowOf, sortRows } from '../helpers/rows.ts'

const top = mkdtempSync(join(tmpdir(), 'cxv-manifest-'))
after(() => rmSync(top, { recursive: true, force: true }))

const part = fc
  .oneof(
    fc.constantFrom('a', 'b', 'a-b', 'images', '0', 'ü', '\uffff', '\u{10000}', 'x\ny', '"', '\\'),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 6 }),
  )
  .filter((s) => !/[/\u0000]|\p{Surrogate}/u.test(s) && !/^(\.{1,2}|\.git|\.cxv)$/i.test(s))
const path = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'))
const row = fc
  .tuple(path, fc.maxSafeNat(), fc.boolean(), fc.nat({ max: 20 }))
  .map(([p, size, executable, n]) => ({ ...rowOf(p, String(n)), size, executable }))

/** Sorted, each path once, no path the folder of another. */
const rowsOf = (rows: readonly ManifestRow[]): ManifestRow[] => {
  const byPath = new Map(rows.map((r) => [r.path, r]))
  const folder = (p: string): boolean => [...byPath.keys()].some((q) => q.startsWith(`${p}/`))
  return sortRows([...byPath.values()].filter((r) => !folder(r.path)))
}
const rowSet = (max: number): fc.Arbitrary<ManifestRow[]> =>
  fc.array(row, { maxLength: max }).map(rowsOf)

test('encode, decode: identity; paths have one encoding', () => {
  fc.assert(
    fc.property(rowSet(30), (rows) => {
      if (rows.length > 0) assert.deepEqual(decodeShard(encodeShard(rows)), rows)
      for (const r of rows) assert.equal(unescapePath(escapePath(r.path)), r.path)
    }),
  )
})

test('bytes that decode are the bytes that encoding gives back', () => {
  fc.assert(
    fc.property(
      rowSet(5),
      fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 3 }),
      (rows, flips) => {
        if (rows.length === 0) return
        const bytes = Uint8Array.from(encodeShard(rows))
        for (const [at, value] of flips) bytes[at % bytes.length] = value
        let decoded: readonly ManifestRow[]
        try {
          decoded = decodeShard(bytes)
        } catch (error) {
          assert.ok(isCxvError(error, 'FORMAT_INVALID'))
          return
        }
        assert.deepEqual(Buffer.from(encodeShard(decoded)), Buffer.from(bytes))
      },
    ),
    { numRuns: 1000 },
  )
})

const write = (
  history: History,
  rows: readonly ManifestRow[],
  parents: CommitId[],
): Promise<CommitId> =>
  history.writeCommit({
    rows,
    tables: [],
    parents,
    message: 'm',
    author: { name: 'a', email: 'a@b' },
    timeMs: 0,
    zoneMinutes: 0,
  })

async function diff(history: History, a: CommitId, b: CommitId): Promise<RowChange[]> {
  const changes: RowChange[] = []
  for await (const change of history.diff(a, b)) changes.push(change)
  return changes
}

function apply(rows: readonly ManifestRow[], changes: readonly RowChange[]): ManifestRow[] {
  const byPath = new Map(rows.map((r) => [r.path, r]))
  for (const change of changes) {
    if (change.change === 'removed') byPath.delete(change.path)
    else byPath.set(change.path, change.after)
  }
  return sortRows([...byPath.values()])
}

test('diff laws: apply(diff(a, b), a) = b; sorted; diff(b, a) mirrors it; diff(a, a) is empty', async () => {
  const history = await createHistory(mkdtempSync(join(top, 'git-')), 'main')
  await fc.assert(
    fc.asyncProperty(rowSet(60), rowSet(60), async (before, after) => {
      const a = await write(history, before, [])
      const b = await write(history, after, [a])
      const changes = await diff(history, a, b)
      assert.deepEqual(apply(before, changes), after)
      const paths = changes.map((change) => change.path)
      assert.deepEqual(paths, [...new Set(paths)].sort(compareUtf8))
      assert.deepEqual(apply(after, await diff(history, b, a)), before)
      assert.deepEqual(await diff(history, a, a), [])
      assert.deepEqual(await history.manifest(b), after)
    }),
    { numRuns: 60 },
  )
})

/** Names and ids of a commit's shards, read from its trees. */
async function shardsOf(history: History, rows: readonly ManifestRow[]): Promise<Set<string>> {
  const id = await write(history, rows, [])
  const order = await history.readFile(id, 'manifest/order')
  const firsts = Buffer.from(order ?? '')
    .toString()
    .split('\n')
    .slice(0, -1)
  const found = new Set<string>()
  for (let i = 0; i < firsts.length; i++) {
    const start = rows.findIndex((r) => escapePath(r.path) === firsts[i])
    const end = rows.findIndex((r) => escapePath(r.path) === firsts[i + 1])
    found.add(Buffer.from(encodeShard(rows.slice(start, end < 0 ? rows.length : end))).toString())
  }
  return found
}

test('an edit changes one shard, an insert or a removal at most two', async () => {
  const history = await createHistory(mkdtempSync(join(top, 'git-')), 'main')
  const rows = sortRows(
    Array.from({ length: 3000 }, (_, i) => rowOf(`images/${100_000 + 7 * i}.png`)),
  )
  const before = await shardsOf(history, rows)
  const added = async (after: readonly ManifestRow[]): Promise<number> =>
    [...(await shardsOf(history, after))].filter((shard) => !before.has(shard)).length
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: 2999 }), fc.integer({ min: 1, max: 6 }), async (i, k) => {
      const path = rows[i]?.path ?? ''
      const edited = rows.map((r, j) => (j === i ? { ...r, executable: true } : r))
      assert.equal(await added(edited), 1)
      assert.ok((await added(rows.filter((_, j) => j !== i))) <= 2)
      const inserted = rowOf(`images/${100_000 + 7 * i + k}.png`)
      assert.notEqual(inserted.path, path)
      assert.ok((await added(sortRows([...rows, inserted]))) <= 2)
    }),
    { numRuns: 60 },
  )
})
