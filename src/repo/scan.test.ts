import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs, {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { testContext } from '../../test/helpers/context.ts'
import { workTree } from '../../test/helpers/work-tree.ts'
import type { WorkerHandle } from '../io/index.ts'
import { scanWorkTree, walkAhead, walkWorkTree } from './scan.ts'
import { computeStatus } from './status.ts'
import { decodeFacts } from './stat-cache.ts'
import type { WorkTreeState } from './types.ts'
import { claimBatch, createBatches, type WalkBatch, type WalkMessage } from './walk.ts'

function tempTree(t: TestContext, files: readonly string[]): string {
  const root = mkdtempSync(join(tmpdir(), 'cxv-scan-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  for (const path of files) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), path)
  }
  return root
}

type Found = readonly (readonly [path: string, word: string])[]

test('a walk on a thread of its own tells how many files it has met', async (t) => {
  const root = tempTree(t, ['a.png', 'b/c.png'])
  let now = 0
  const ctx = { ...testContext(), now: () => (now += 1000) }
  const ahead = walkAhead(ctx, root, '', 2)
  await ahead.finish({ tracked: new Set(), onFile: () => undefined })
  await ahead.stop()
  const told = ctx.events.map((e) => [e.type, 'done' in e ? e.done : 0, 'total' in e && e.total])
  assert.deepEqual(told, [
    ['task.start', 0, 2],
    ['task.step', 2, 2],
    ['task.end', 2, false],
  ])
})

test('a walk on a thread of its own finds what one on this thread finds', async (t) => {
  const root = tempTree(t, [
    'a.png',
    'b/c.png',
    'b/deep/er/d.png',
    'b/x.tmp',
    'b/kept.tmp',
    'build/in.o',
    'build/deep/tracked.o',
    'build/deep/not.o',
    'sub/.git/config',
    'sub/.CXV/x',
    'umlaut ä/日本.png',
  ])
  writeFileSync(join(root, '.cxvignore'), '*.tmp\nbuild\nhidden-link\n')
  symlinkSync('a.png', join(root, 'link'))
  symlinkSync('b', join(root, 'folder-link'))
  symlinkSync('a.png', join(root, 'hidden-link'))
  assert.equal(spawnSync('mkfifo', [join(root, 'pipe')]).status, 0)
  const tracked = new Set(['build/deep/tracked.o', 'b/kept.tmp', 'hidden-link', 'gone.png'])
  const found = async (ahead: boolean, under: string): Promise<Found> => {
    const rows: (readonly [string, string])[] = []
    const options = {
      tracked,
      onFile: (path: string, facts: Uint8Array, at: number) =>
        void rows.push([path, String(decodeFacts(facts, at).ino)]),
    }
    const ctx = testContext()
    const skipped = ahead
      ? await walkAhead(ctx, root, under).finish(options)
      : await walkWorkTree(ctx, root, under, options)
    for (const { path, why } of skipped) rows.push([path, why])
    return rows.sort(([a], [b]) => (a < b ? -1 : 1))
  }
  for (const under of ['', 'b', 'build', 'b/deep', 'a.png', 'b/x.tmp', 'b/kept.tmp', 'nowhere']) {
    assert.deepEqual(await found(true, under), await found(false, under), under)
  }
  assert.deepEqual(
    (await found(true, '')).map(([path]) => path),
    [
      '.cxvignore',
      'a.png',
      'b/c.png',
      'b/deep/er/d.png',
      'b/kept.tmp',
      'build/deep/tracked.o',
      'folder-link',
      'hidden-link',
      'link',
      'pipe',
      'sub/.CXV',
      'sub/.git',
      'umlaut ä/日本.png',
    ],
  )
})

test('a walk asks the system about the files it is told to look at, and names the others', async (t) => {
  const names = ['a.png', 'b/c.png', 'b/d.png', 'b/old.png', 'hidden.tmp']
  const root = tempTree(t, [...names, '.cxvignore', 'bad\\name'])
  writeFileSync(join(root, '.cxvignore'), '*.tmp\n')
  symlinkSync('a.png', join(root, 'link'))
  const asked: string[] = []
  const { lstatSync } = fs
  t.mock.method(fs, 'lstatSync', (...args: Parameters<typeof lstatSync>) => {
    asked.push(String(args[0]).slice(root.length + 1))
    return lstatSync(...args)
  })
  syncBuiltinESMExports()
  t.after(() => {
    t.mock.restoreAll()
    syncBuiltinESMExports()
  })
  const scan = await scanWorkTree(testContext(), root, '', {
    tracked: new Set(['b/old.png']),
    looksAt: (path) => path === 'b/old.png',
  })
  assert.deepEqual(asked, ['b/old.png'])
  assert.deepEqual(
    scan.files.map(({ path, stat }) => [path, stat?.size]),
    [
      ['.cxvignore', undefined],
      ['a.png', undefined],
      ['b/c.png', undefined],
      ['b/d.png', undefined],
      ['b/old.png', 9],
      ['bad\\name', undefined],
    ],
  )
  assert.deepEqual(scan.skipped, [{ path: 'link', why: 'symlink' }])
})

/** A thread that lists and looks at nothing, ends once all is taken, or dies. */
const idleThread =
  (
    batches: readonly WalkBatch[],
    play: (send: (message: WalkMessage) => void, die: (error: Error) => void) => Promise<void>,
  ) =>
  (): WorkerHandle => {
    let listener: (message: unknown) => void = () => undefined
    let fail: (error: Error) => void = () => undefined
    void setImmediate().then(async () => {
      for (const batch of batches) listener({ type: 'batch', batch })
      await play(
        (message) => listener(message),
        (error) => fail(error),
      )
    })
    return {
      post: () => undefined,
      onMessage: (heard) => void (listener = heard),
      onFailure: (heard) => void (fail = heard),
      stop: () => Promise.resolve(),
    }
  }

function listed(tell: (sink: ReturnType<typeof createBatches>) => void): readonly WalkBatch[] {
  const sent: WalkBatch[] = []
  const sink = createBatches((batch) => sent.push(batch))
  tell(sink)
  return sent
}

test(
  'files that the walking thread only names are looked at on this one',
  { timeout: 30_000 },
  async (t) => {
    const root = tempTree(t, ['a.png', 'b/c.png'])
    const batches = listed((sink) => {
      for (const path of ['a.png', 'b/c.png']) {
        sink.unseen?.(path)
        sink.flush()
      }
    })
    const start = idleThread(batches, async (send) => {
      const isTaken = ({ claim }: WalkBatch): boolean => new Int32Array(claim)[0] === 1
      while (!batches.every(isTaken)) await setImmediate()
      send({ type: 'end' })
    })
    const sizes: (readonly [string, number])[] = []
    const ahead = walkAhead(testContext(), root, '', 2, start)
    await ahead.finish({
      tracked: new Set(),
      onFile: (path, facts, at) => void sizes.push([path, decodeFacts(facts, at).size]),
    })
    assert.deepEqual(sizes, [
      ['a.png', 5],
      ['b/c.png', 7],
    ])
    assert.equal(ahead.digests()?.length, 2 * 32)
  },
)

test('after a thread that dies half way every file is told once', async (t) => {
  const root = tempTree(t, ['a.png', 'b.png', 'c.png', 'kept.tmp', 'd.png'])
  writeFileSync(join(root, '.cxvignore'), '*.tmp\n')
  const batches = listed((sink) => {
    sink.unseen?.('a.png')
    sink.hidden('kept.tmp', 'file')
    sink.flush()
    sink.unseen?.('b.png')
    sink.flush()
    sink.unseen?.('c.png')
    sink.flush()
  })
  // Of the second batch nothing is ever told, though it was taken; of the others this thread takes what it can.
  assert.ok(claimBatch(batches[1]!))
  const start = idleThread(batches, async (_send, die) => {
    while (new Int32Array(batches[2]!.claim)[0] !== 1) await setImmediate()
    die(new Error('out of memory'))
  })
  const paths: string[] = []
  const ahead = walkAhead(testContext(), root, '', 5, start)
  await ahead.finish({ tracked: new Set(['kept.tmp']), onFile: (path) => void paths.push(path) })
  assert.deepEqual(paths.slice(0, 2), ['a.png', 'kept.tmp'])
  const all = ['.cxvignore', 'a.png', 'b.png', 'c.png', 'd.png', 'kept.tmp']
  assert.deepEqual(paths.sort(), all)
  assert.equal(ahead.digests(), undefined)
})

test('a walk that was begun for nothing is given up', async (t) => {
  const stop = new AbortController()
  const ctx = { ...testContext(), signal: stop.signal }
  const ahead = walkAhead(ctx, tempTree(t, ['a']), '')
  stop.abort(new Error('enough'))
  await assert.rejects(ahead.finish({ tracked: new Set(), onFile: () => undefined }), /enough/)
  await ahead.stop()
})

test('status of so many files that a thread walks ahead, and of one file', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'cxv-many-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  const tree = await workTree(root)
  const many = Array.from({ length: 16_400 }, (_, i) => [`f${i % 20}/${i}`, `${i}`] as const)
  tree.write(Object.fromEntries(many))
  await tree.commit('many')
  rmSync(join(root, 'f3/3'))
  tree.write({ 'f4/4': 'other', 'f5/new': 'new' })
  const states = (under?: string): Promise<readonly (readonly [string, WorkTreeState])[]> =>
    tree.with(async (repo) => {
      const { unstaged } = await computeStatus(tree.ctx, repo, under === undefined ? {} : { under })
      return unstaged.map(({ path, state }) => [path, state] as const)
    })
  assert.deepEqual(await states(), [
    ['f3/3', 'deleted'],
    ['f4/4', 'modified'],
    ['f5/new', 'untracked'],
  ])
  assert.deepEqual(await states('f4/4'), [['f4/4', 'modified']])
  assert.deepEqual(await states('f6/6'), [])
})

test('a walk is known again by its digests, and only the same walk', async (t) => {
  const root = tempTree(t, ['a.png', 'b/c.png', 'b/x.tmp'])
  const walk = async (tracked: readonly string[] = []): Promise<Uint8Array | undefined> => {
    const ahead = walkAhead(testContext(), root, '')
    await ahead.finish({ tracked: new Set(tracked), onFile: () => undefined })
    return ahead.digests()
  }
  const isAs = async (digests: Uint8Array): Promise<boolean> => {
    const ahead = walkAhead(testContext(), root, '')
    const same = await ahead.isAs(digests)
    // What was met while comparing is told all the same.
    const paths: string[] = []
    const onFile = (path: string): void => void paths.push(path)
    await ahead.finish({ tracked: new Set(), onFile })
    assert.ok(paths.includes('a.png'))
    return same
  }
  const first = await walk()
  assert.ok(first !== undefined && first.length > 0)
  assert.ok(await isAs(first))
  assert.ok(!(await isAs(first.subarray(32))))
  assert.ok(!(await isAs(Buffer.concat([first, first]))))
  const changes = [
    () => writeFileSync(join(root, 'b/c.png'), 'B/c.png'),
    () => chmodSync(join(root, 'a.png'), 0o755),
    () => writeFileSync(join(root, 'b/new.png'), ''),
    () => writeFileSync(join(root, '.cxvignore'), '*.tmp\n'),
    // No file that is told of changes with these.
    () => symlinkSync('a.png', join(root, 'link')),
    () => writeFileSync(join(root, 'b/y.tmp'), ''),
    () => rmSync(join(root, 'b/new.png')),
    () => renameSync(join(root, 'b/c.png'), join(root, 'b/d.png')),
  ]
  for (const change of changes) {
    const before = await walk()
    change()
    assert.ok(before !== undefined && !(await isAs(before)), change.toString())
  }
  // What is tracked and yet ignored is not for the thread to know.
  assert.equal(await walk(['b/x.tmp']), undefined)
})
