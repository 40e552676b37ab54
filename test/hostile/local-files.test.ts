import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { unstagePaths } from '../../src/repo/index.ts'
import { at, type Machine, machine } from '../helpers/cli.ts'
import { type CleanUp, tempFolder } from '../helpers/temp.ts'
import { workTree } from '../helpers/work-tree.ts'

interface Place {
  readonly ada: Machine
  readonly work: string
  write(path: string, text: string): void
  read(path: string): string
  has(path: string): boolean
}

/** A repository with one commit of the files given. */
async function place(t: CleanUp, files: Readonly<Record<string, string>>): Promise<Place> {
  const top = tempFolder(t, 'local')
  const ada = machine(join(top, 'home'))
  const work = join(top, 'work')
  mkdirSync(work)
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(work, path)), { recursive: true })
    writeFileSync(join(work, path), text)
  }
  for (const [path, text] of Object.entries(files)) write(path, text)
  await ada.ok(work, 'init')
  await ada.ok(work, 'add', '.')
  await ada.ok(work, 'commit', '-m', 'first')
  return {
    ada,
    work,
    write,
    read: (path) => readFileSync(join(work, path), 'utf8'),
    has: (path) => existsSync(join(work, path)),
  }
}

test('rm keeps a file whose bytes are staged only: no commit could bring them back', async (t) => {
  const { ada, work, write, read, has } = await place(t, { 'a.txt': 'one\n', 'same.txt': 'one\n' })
  write('new.txt', 'only\n')
  write('a.txt', 'edited\n')
  await ada.ok(work, 'add', '.')
  for (const [path, bytes] of [
    ['new.txt', 'only\n'],
    ['a.txt', 'edited\n'],
  ] as const) {
    const refused = await ada.fails(work, 'rm', path)
    assert.equal(refused.code, 'LOCAL_CHANGES')
    assert.equal(refused.status, 17)
    assert.deepEqual(refused.data, { paths: [path], count: 1 })
    assert.match(refused.hint, /cxv commit.*cxv restore --staged.*--cached.*--force/)
    assert.equal(read(path), bytes)
  }
  // What is staged is lost as well when the file on disk went back to what HEAD has.
  write('a.txt', 'one\n')
  assert.equal((await ada.fails(work, 'rm', 'a.txt')).code, 'LOCAL_CHANGES')

  await ada.ok(work, 'rm', '--cached', 'new.txt')
  assert.equal(read('new.txt'), 'only\n')
  await ada.ok(work, 'rm', 'same.txt')
  assert.ok(!has('same.txt'), 'its bytes are in HEAD')
  await ada.ok(work, 'restore', '--staged', 'same.txt')
  await ada.ok(work, 'restore', 'same.txt')
  assert.equal(read('same.txt'), 'one\n')
  await ada.ok(work, 'rm', '--force', 'a.txt')
  assert.ok(!has('a.txt'))
})

test('rm stops when it is told to, counts, and the same call finishes it', async (t: TestContext) => {
  const tree = await workTree(join(tempFolder(t, 'rm'), 'repo'))
  const names = Array.from({ length: 1500 }, (_, i) => `many/${i}.txt`)
  tree.write(Object.fromEntries(names.map((name) => [name, 'same'])))
  await tree.commit('many')

  const stop = new AbortController()
  const events: string[] = []
  const ctx = {
    ...tree.ctx,
    signal: stop.signal,
    emit: (event: Parameters<typeof tree.ctx.emit>[0]) => {
      if (event.type !== 'task.start') return
      events.push(`${event.title} ${event.unit} ${event.total}`)
      // As a key pressed while the loop is on: seen only by one that lets others have a turn.
      if (event.title !== 'deleting') return
      setImmediate(() => setImmediate(() => stop.abort(new Error('stop'))))
    },
  }
  const left = (): number => names.filter((name) => existsSync(join(tree.root, name))).length
  const rm = () =>
    tree.with((repo) => unstagePaths(ctx, repo, ['many'], { keepFiles: false, force: false }))
  await assert.rejects(rm(), /stop/)
  assert.deepEqual(events, ['checking files files 1500', 'deleting files 1500'])
  assert.ok(left() > 0 && left() < names.length, `${left()} files are left`)

  const done = await tree.with((repo) =>
    unstagePaths(tree.ctx, repo, ['many'], { keepFiles: false, force: false }),
  )
  assert.equal(done.removed.length, names.length)
  assert.equal(left(), 0)
})

test('a file where a folder must go is named, and goes by force alone', async (t) => {
  const { ada, work, write, read, has } = await place(t, { 'a.txt': 'a\n' })
  await ada.ok(work, 'switch', '-c', 'deep')
  write('x/y.txt', 'deep\n')
  await ada.ok(work, 'add', '.')
  await ada.ok(work, 'commit', '-m', 'deep')
  await ada.ok(work, 'switch', 'main')
  assert.ok(!has('x'))

  write('x', 'mine\n')
  const refused = await ada.fails(work, 'switch', 'deep')
  assert.equal(`${refused.code} ${refused.status}`, 'LOCAL_CHANGES 17')
  assert.deepEqual(refused.data, { paths: ['x'], count: 1 })
  assert.equal(read('x'), 'mine\n')
  await ada.ok(work, 'switch', '--force', 'deep')
  assert.equal(read('x/y.txt'), 'deep\n')

  await ada.ok(work, 'rm', '--cached', 'x/y.txt')
  await ada.ok(work, 'restore', '--staged', 'x')
  rmSync(join(work, 'x'), { recursive: true })
  write('x', 'again\n')
  assert.deepEqual((await ada.fails(work, 'restore', 'x/y.txt')).data, { paths: ['x'], count: 1 })
  await ada.ok(work, 'restore', '-f', 'x/y.txt')
  assert.equal(read('x/y.txt'), 'deep\n')
})

test('a folder where a file must go: what is not tracked in it is never deleted', async (t) => {
  const { ada, work, write, read, has } = await place(t, { 'b/one': '1\n', 'b/two/2': '2\n' })
  await ada.ok(work, 'switch', '-c', 'flat')
  await ada.ok(work, 'rm', 'b')
  write('b', 'flat\n')
  await ada.ok(work, 'add', 'b')
  await ada.ok(work, 'commit', '-m', 'flat')
  await ada.ok(work, 'switch', 'main')
  assert.equal(read('b/two/2'), '2\n')

  write('b/mine', 'untracked\n')
  for (const verb of [
    ['switch', 'flat'],
    ['switch', '-f', 'flat'],
    ['restore', '-f', '-s', 'flat', 'b'],
  ]) {
    const refused = await ada.fails(work, ...verb)
    assert.equal(`${refused.code} ${refused.status}`, 'LOCAL_CHANGES 17', refused.message)
    assert.match(refused.message, /folder where a file must go: b\/mine/)
    assert.equal(read('b/mine'), 'untracked\n')
    assert.equal(read('b/one'), '1\n')
  }
  rmSync(join(work, 'b', 'mine'))
  mkdirSync(join(work, 'b', 'hollow', 'deeper'), { recursive: true })
  write('b/one', 'edited\n')
  assert.match((await ada.fails(work, 'restore', '-s', 'flat', 'b')).message, /b\/one/)
  await ada.ok(work, 'restore', '-f', '-s', 'flat', 'b')
  assert.equal(read('b'), 'flat\n')
  assert.deepEqual(
    await ada.json(work, 'switch', '-f', 'main').then((r) => at(r, 'branch')),
    'refs/heads/main',
  )
  assert.equal(read('b/one'), '1\n')
  mkdirSync(join(work, 'b', 'hollow'))
  await ada.ok(work, 'switch', 'flat')
  assert.equal(read('b'), 'flat\n')

  // An empty folder is nobody's work.
  rmSync(join(work, 'b'))
  mkdirSync(join(work, 'b'))
  await ada.ok(work, 'restore', 'b')
  assert.equal(read('b'), 'flat\n')
  assert.ok(has('b'))
})
