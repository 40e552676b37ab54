import assert from 'node:assert/strict'
import type { TestFn } from '../helpers/test-fn.ts'
import { type CommitId, type ErrorCode, isCxvError, utf8 } from '../../src/base/index.ts'
import type { History, ManifestRow, TableDeclaration } from '../../src/history/types.ts'
import { imageRows, rowOf, sortRows } from '../helpers/rows.ts'

export interface HistorySubject {
  readonly test: TestFn
  /** A new, empty history on branch main. */
  readonly make: () => Promise<History>
  /** The same history as another process would open it. */
  readonly reopen: (history: History) => Promise<History>
}

const AUTHOR = { name: 'Ada Müller', email: 'ada@example.org' }
const LABELS: TableDeclaration = {
  name: 'labels',
  path: 'Data_Entry.csv',
  key: 'Image Index',
  match: 'root',
  pathRoot: 'images',
}

let clock = Date.UTC(2026, 0, 1)

export async function commitRows(
  history: History,
  rows: readonly ManifestRow[],
  parents: readonly CommitId[],
  message = 'a commit',
): Promise<CommitId> {
  clock += 60_000
  return history.writeCommit({
    rows: sortRows(rows),
    tables: [],
    parents,
    message,
    author: AUTHOR,
    timeMs: clock,
    zoneMinutes: -60,
  })
}

/** A straight history of `n` commits on main, the i-th with i + 1 files. Oldest first. */
export async function commitLine(history: History, n: number): Promise<CommitId[]> {
  const ids: CommitId[] = []
  for (let i = 0; i < n; i++) {
    const before = ids.at(-1)
    const rows = imageRows(i + 1)
    const id = await commitRows(history, rows, before === undefined ? [] : [before], `commit ${i}`)
    await history.casRef('refs/heads/main', before ?? null, id, `commit: commit ${i}`)
    ids.push(id)
  }
  return ids
}

export const rejectsWith = (promise: Promise<unknown>, code: ErrorCode): Promise<void> =>
  assert.rejects(promise, (error: unknown) => {
    assert.ok(isCxvError(error, code), `expected ${code}, got ${String(error)}`)
    return true
  })

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

/** What every History promises. */
export function historySuite(subject: HistorySubject): void {
  commitsSuite(subject)
  manifestsSuite(subject)
  refsSuite(subject)
  revisionsSuite(subject)
  transferSuite(subject)
}

function commitsSuite({ test, make, reopen }: HistorySubject): void {
  test('a commit reads back as it was written, by another process as well', async () => {
    const history = await make()
    const rows = sortRows([...imageRows(700), { ...rowOf('train.sh'), executable: true }])
    const id = await history.writeCommit({
      rows,
      tables: [LABELS],
      parents: [],
      message: 'first 700\n\nwith a body\n',
      author: AUTHOR,
      timeMs: 1_700_000_000_123,
      zoneMinutes: -330,
    })
    for (const reader of [history, await reopen(history)]) {
      const commit = await reader.read(id)
      assert.deepEqual(commit, {
        id,
        parents: [],
        message: 'first 700\n\nwith a body',
        author: AUTHOR,
        timeMs: 1_700_000_000_000,
        zoneMinutes: -330,
        files: 701,
        bytes: rows.reduce((sum, row) => sum + row.size, 0),
        tables: [LABELS],
      })
      assert.deepEqual(await reader.manifest(id), rows)
      assert.deepEqual((await reader.facts(id)).parents, [])
      assert.equal(await reader.has(id), true)
    }
  })

  test('a commit without files, and without parents, is a commit', async () => {
    const history = await make()
    const id = await commitRows(history, [], [])
    assert.deepEqual(await history.manifest(id), [])
    assert.equal((await history.read(id)).files, 0)
    assert.deepEqual(await history.manifest(null), [])
  })

  test('the log is newest first, each commit once, parents after children', async () => {
    const history = await make()
    const [a, b] = await commitLine(history, 2)
    assert.ok(a && b)
    const left = await commitRows(history, imageRows(5), [b], 'left')
    const right = await commitRows(history, imageRows(6), [b], 'right')
    const merge = await commitRows(history, imageRows(7), [left, right], 'merge')
    const ids = (await collect(history.log([merge, left]))).map((commit) => commit.id)
    assert.deepEqual(ids, [merge, right, left, b, a])
    const two = await collect(history.log([merge], { limit: 2 }))
    assert.deepEqual(
      two.map((commit) => commit.id),
      [merge, right],
    )
    assert.equal(await history.isAncestor(a, merge), true)
    assert.equal(await history.isAncestor(merge, a), false)
    assert.equal(await history.isAncestor(left, right), false)
    assert.equal(await history.isAncestor(a, a), true)
  })

  test('the log keeps children before parents whatever the clocks said', async () => {
    const history = await make()
    const write = (parents: CommitId[], timeMs: number, message: string): Promise<CommitId> =>
      history.writeCommit({
        rows: [],
        tables: [],
        parents,
        message,
        author: AUTHOR,
        timeMs,
        zoneMinutes: 0,
      })
    const root = await write([], 9_000_000, 'root, clock ahead')
    const left = await write([root], 1_000_000, 'left, clock behind')
    const right = await write([root], 8_000_000, 'right')
    const tip = await write([left, right], 2_000_000, 'tip')
    const ids = (await collect(history.log([tip]))).map((commit) => commit.id)
    assert.deepEqual(ids, [tip, right, left, root])
  })

  test('a record commit hangs from data, has files, and is no dataset', async () => {
    const history = await make()
    const [data] = await commitLine(history, 1)
    assert.ok(data)
    const run = await history.writeRecordCommit({
      files: new Map([
        ['run.json', utf8('{}\n')],
        ['plots/roc.svg', utf8('<svg/>\n')],
      ]),
      parents: [data],
      message: 'run r0',
      author: AUTHOR,
      timeMs: clock,
      zoneMinutes: 0,
    })
    await history.casRef('refs/runs/r00000000001', null, run, 'run')
    assert.deepEqual((await history.facts(run)).parents, [data])
    assert.deepEqual(await history.readFile(run, 'plots/roc.svg'), utf8('<svg/>\n'))
    assert.equal(await history.readFile(run, 'plots/none.svg'), undefined)
    assert.equal(await history.readFile(run, 'run.json/x'), undefined)
    await rejectsWith(history.readFile(run, 'run.json', 2), 'TOO_LARGE')
    await rejectsWith(history.read(run), 'REV_UNKNOWN')
    assert.deepEqual(
      (await collect(history.log([run]))).map((c) => c.id),
      [data],
    )
    assert.equal(await history.resolve('r00000000001'), run)
    assert.deepEqual(await history.check(), [])
  })
}

function manifestsSuite({ test, make, reopen }: HistorySubject): void {
  test('a diff names what was added, removed and changed, sorted by path', async () => {
    const history = await make()
    const before = imageRows(3000)
    const edited = before.filter((_, i) => i !== 1500)
    edited[10] = { ...rowOf('x'), path: edited[10]?.path ?? '' }
    const after = sortRows([...edited, rowOf('zz/new.png')])
    const a = await commitRows(history, before, [])
    const b = await commitRows(history, after, [a])
    const fresh = await reopen(history)
    const changes = await collect(fresh.diff(a, b))
    assert.deepEqual(
      changes.map(({ change, path }) => [change, path]),
      [
        ['changed', before[10]?.path],
        ['removed', before[1500]?.path],
        ['added', 'zz/new.png'],
      ],
    )
    assert.equal((await collect(fresh.diff(null, a))).length, 3000)
    assert.equal((await collect(fresh.diff(a, null))).length, 3000)
    assert.deepEqual(await collect(fresh.diff(a, a)), [])
  })

  test('rows under a path are the file or all that is in the folder', async () => {
    const history = await make()
    const rows = sortRows([
      ...imageRows(2000),
      rowOf('a'),
      rowOf('b-c'),
      rowOf('b/1'),
      rowOf('b/d/2'),
    ])
    const id = await commitRows(history, rows, [])
    const fresh = await reopen(history)
    const paths = async (path: string): Promise<string[]> =>
      (await fresh.rowsUnder(id, path)).map((row) => row.path)
    assert.deepEqual(await paths('a'), ['a'])
    assert.deepEqual(await paths('b'), ['b/1', 'b/d/2'])
    assert.deepEqual(await paths('b/d'), ['b/d/2'])
    assert.deepEqual(await paths('none'), [])
    assert.equal((await paths('images')).length, 2000)
    assert.deepEqual(
      await paths(''),
      rows.map((row) => row.path),
    )
  })

  test('equal rows make an equal tree, whoever wrote them and after whatever', async () => {
    const history = await make()
    const rows = imageRows(2000)
    const wide = await commitRows(history, [...rows, rowOf('a/first'), rowOf('z')], [])
    const pack = await history.exportPack([wide], [])
    assert.ok(pack)
    const input = {
      rows,
      tables: [],
      parents: [wide],
      message: 'back',
      author: AUTHOR,
      timeMs: clock,
      zoneMinutes: 0,
    }
    const withCache = await history.writeCommit(input)
    const other = await make()
    await other.importPack(pack)
    assert.equal(await other.writeCommit(input), withCache)
    assert.deepEqual(await history.check(), [])
  })
}

function refsSuite({ test, make, reopen }: HistorySubject): void {
  test('a ref moves only from where it is thought to be', async () => {
    const history = await make()
    const [a, b] = await commitLine(history, 2)
    assert.ok(a && b)
    await rejectsWith(history.casRef('refs/heads/main', a, b, 'stale'), 'REF_MOVED')
    await rejectsWith(history.casRef('refs/heads/main', null, b, 'new'), 'REF_MOVED')
    await rejectsWith(history.casRef('refs/heads/x', a, b, 'absent'), 'REF_MOVED')
    assert.equal(await history.ref('refs/heads/main'), b)
    await history.casRef('refs/heads/main', b, a, 'back')
    assert.equal(await (await reopen(history)).ref('refs/heads/main'), a)
    const absent = 'ab'.repeat(20) as CommitId
    await rejectsWith(history.casRef('refs/heads/main', a, absent, 'bytes'), 'FORMAT_INVALID')
  })

  test('a deleted ref is gone, with its log, and leaves room for a folder of its name', async () => {
    const history = await make()
    const [a] = await commitLine(history, 1)
    assert.ok(a)
    await history.casRef('refs/heads/topic', null, a, 'branch')
    await rejectsWith(history.casRef('refs/heads/topic/x', null, a, 'branch'), 'REF_EXISTS')
    await history.casRef('refs/heads/topic', a, null, 'deleted')
    assert.equal(await history.ref('refs/heads/topic'), null)
    assert.deepEqual(await history.reflog('refs/heads/topic'), [])
    await history.casRef('refs/heads/topic/x', null, a, 'branch')
    await rejectsWith(history.casRef('refs/heads/topic', null, a, 'branch'), 'REF_EXISTS')
    await history.casRef('refs/heads/topic/x', a, null, 'deleted')
    await history.casRef('refs/heads/topic', null, a, 'branch')
    const names = (await history.refs('refs/heads/')).map((row) => row.name)
    assert.deepEqual(names, ['refs/heads/main', 'refs/heads/topic'])
  })

  test('names that git refuses are refused', async () => {
    const history = await make()
    const [a] = await commitLine(history, 1)
    assert.ok(a)
    const bad = [
      'main',
      'refs/main',
      'refs/heads/',
      'refs/heads/../x',
      'refs/heads/a..b',
      'refs/heads/.a',
    ]
    bad.push(
      'refs/heads/a.lock',
      'refs/heads/a b',
      'refs/heads/a~1',
      'refs/heads/a@{1}',
      'refs/heads/a.',
    )
    bad.push(
      'refs/heads//a',
      'refs/heads/a\u0000',
      `refs/heads/${'x'.repeat(300)}`,
      '/refs/heads/a',
    )
    for (const name of bad) await rejectsWith(history.casRef(name, null, a, 'bad'), 'REF_INVALID')
    await history.casRef('refs/heads/füß/1.5', null, a, 'good')
    assert.equal(await history.resolve('füß/1.5'), a)
  })

  test('HEAD follows a branch, also an unborn one, or is detached', async () => {
    const history = await make()
    assert.deepEqual(await history.head(), { branch: 'refs/heads/main', commit: null })
    const [a, b] = await commitLine(history, 2)
    assert.ok(a && b)
    assert.deepEqual(await history.head(), { branch: 'refs/heads/main', commit: b })
    await history.setHead(a, 'checkout: moving from main to a')
    assert.deepEqual(await history.head(), { branch: null, commit: a })
    await history.setHead('refs/heads/new', 'checkout')
    assert.deepEqual(await (await reopen(history)).head(), {
      branch: 'refs/heads/new',
      commit: null,
    })
  })

  test('the reflog tells every move, newest first', async () => {
    const history = await make()
    const [a, b] = await commitLine(history, 2)
    assert.ok(a && b)
    await history.casRef('refs/heads/main', b, a, 'reset:\nback')
    const rows = await history.reflog('refs/heads/main')
    assert.deepEqual(
      rows.map(({ from, to, reason }) => [from, to, reason]),
      [
        [b, a, 'reset: back'],
        [a, b, 'commit: commit 1'],
        [null, a, 'commit: commit 0'],
      ],
    )
    assert.equal((await history.reflog('HEAD')).length, 3)
  })
}

function revisionsSuite({ test, make }: HistorySubject): void {
  test('revisions: names, steps, ids, tags, the reflog', async () => {
    const history = await make()
    await rejectsWith(history.resolve('HEAD'), 'NO_COMMITS')
    const [a, b, c] = await commitLine(history, 3)
    assert.ok(a && b && c)
    const side = await commitRows(history, imageRows(9), [a], 'side')
    const merge = await commitRows(history, imageRows(10), [c, side], 'merge')
    await history.casRef('refs/heads/main', c, merge, 'merge')
    const tag = await history.writeTag({
      target: b,
      name: 'v1',
      message: 'first release',
      author: AUTHOR,
      timeMs: clock,
      zoneMinutes: 0,
    })
    await history.casRef('refs/tags/v1', null, tag, 'tag')
    await history.casRef('refs/tags/light', null, a, 'tag')
    await history.casRef('refs/remotes/origin/main', null, c, 'fetch')
    const expected: Readonly<Record<string, CommitId>> = {
      HEAD: merge,
      '@': merge,
      main: merge,
      'heads/main': merge,
      'refs/heads/main': merge,
      'HEAD~1': c,
      'HEAD~': c,
      'HEAD^': c,
      'HEAD^2': side,
      'HEAD^2~1': a,
      'main~3': a,
      'HEAD^^^': a,
      'HEAD~0': merge,
      v1: b,
      'v1^{}': b,
      'v1~1': a,
      light: a,
      'origin/main': c,
      'main@{1}': c,
      'HEAD@{0}': merge,
      [a]: a,
      [a.slice(0, 12)]: a,
      [tag]: b,
    }
    for (const [revision, id] of Object.entries(expected)) {
      assert.equal(await history.resolve(revision), id, revision)
    }
    const unknown = [
      'HEAD~99',
      'HEAD^3',
      'mian',
      'main~x',
      'main@{77}',
      'ff'.repeat(20),
      '',
      '../main',
    ]
    for (const revision of unknown) await rejectsWith(history.resolve(revision), 'REV_UNKNOWN')
    await assert.rejects(history.resolve('mian'), { hint: 'did you mean main?' })
    assert.deepEqual(await history.manifest(tag), await history.manifest(b))
    assert.equal(await history.isAncestor(tag, c), true)
  })

  test('a short id that fits two commits lists both', async () => {
    const history = await make()
    const ids = new Map<string, CommitId>()
    let parent: CommitId | undefined
    // 4 digits: the birthday of 65,536 comes at about 300 commits.
    for (let i = 0; i < 3000; i++) {
      const id: CommitId = await history.writeRecordCommit({
        files: new Map([['n', utf8(String(i))]]),
        parents: [],
        message: `n ${i}`,
        author: AUTHOR,
        timeMs: 0,
        zoneMinutes: 0,
      })
      parent = ids.get(id.slice(0, 4))
      if (parent !== undefined) {
        const short = id.slice(0, 4)
        await assert.rejects(history.resolve(short), (error: unknown) => {
          assert.ok(isCxvError(error, 'REV_AMBIGUOUS'))
          assert.deepEqual(new Set(error.data['candidates'] as string[]), new Set([id, parent]))
          return true
        })
        return
      }
      ids.set(id.slice(0, 4), id)
    }
    assert.fail('no two ids met')
  })
}

function transferSuite({ test, make }: HistorySubject): void {
  test('a pack carries all that is missing, and no more', async () => {
    const [from, to] = [await make(), await make()]
    const [a] = await commitLine(from, 1)
    assert.ok(a)
    const rows = imageRows(5000)
    const b = await commitRows(from, rows, [a])
    const edited = rows.map((row, i) => (i === 2500 ? { ...rowOf('edit'), path: row.path } : row))
    const c = await commitRows(from, edited, [b])
    const tag = await from.writeTag({
      target: c,
      name: 'v1',
      message: 'tag',
      author: AUTHOR,
      timeMs: 0,
      zoneMinutes: 0,
    })
    const first = await from.exportPack([b], [])
    assert.ok(first)
    await to.importPack(first)
    assert.deepEqual(await to.manifest(b), rows)
    const second = await from.exportPack([tag], [b])
    assert.ok(second)
    // tag, commit, root, dataset.json, manifest, one folder of it, one shard
    assert.ok(Buffer.from(second).readUInt32BE(8) <= 7, 'an edit travels as a handful of objects')
    await rejectsWith((await make()).importPack(second), 'FORMAT_INVALID')
    await to.importPack(second)
    await to.importPack(second)
    assert.deepEqual(await to.manifest(tag), edited)
    await to.casRef('refs/tags/v1', null, tag, 'fetch')
    assert.deepEqual(await to.check(), [])
    assert.equal(await from.exportPack([c], [c]), undefined)
    assert.equal(await from.exportPack([c], [tag]), undefined)
    const unknownToUs = 'cd'.repeat(20) as CommitId
    assert.ok(await from.exportPack([c], [unknownToUs, b]))
  })
}
