import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { unstagePaths } from '../../src/repo/index.ts'
import { type Machine, machine } from '../helpers/cli.ts'
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
