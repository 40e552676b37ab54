import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { type CommitId, isCxvError } from '../../src/base/index.ts'
import { createHistory, type History, openHistory } from '../../src/history/index.ts'
import { commitRows, rejectsWith } from '../suites/history.suite.ts'
import { imageRows } from '../helpers/rows.ts'

const top = mkdtempSync(join(tmpdir(), 'cxv-hostile-'))
after(() => rmSync(top, { recursive: true, force: true }))

async function make(): Promise<{ readonly history: History; readonly folder: string }> {
  const folder = mkdtempSync(join(top, 'git-'))
  return { history: await createHistory(folder, 'main'), folder }
}

const CODES = { commit: 1, tree: 2, blob: 3, tag: 4, offset: 6, id: 7 } as const
type Type = keyof typeof CODES

interface Entry {
  readonly type: Type
  readonly bytes: Buffer
  /** Size to declare instead of the true one. */
  readonly size?: number
}

const oidOf = (type: string, bytes: Buffer): string =>
  createHash('sha1').update(`${type} ${bytes.length}\0`).update(bytes).digest('hex')

function head(code: number, size: number): Buffer {
  const out: number[] = []
  let rest = Math.floor(size / 16)
  out.push((code << 4) | (size & 15) | (rest > 0 ? 0x80 : 0))
  for (; rest > 0; rest = Math.floor(rest / 128)) out.push((rest & 0x7f) | (rest > 127 ? 0x80 : 0))
  return Buffer.from(out)
}

/** A pack as its maker wants it, under a right checksum. */
function packOf(entries: readonly Entry[], count = entries.length): Buffer {
  const header = Buffer.alloc(12)
  header.write('PACK')
  header.writeUInt32BE(2, 4)
  header.writeUInt32BE(count, 8)
  const parts = entries.map(({ type, bytes, size }) =>
    Buffer.concat([head(CODES[type], size ?? bytes.length), deflateSync(bytes)]),
  )
  return sealed(Buffer.concat([header, ...parts]))
}

const sealed = (body: Buffer): Buffer =>
  Buffer.concat([body, createHash('sha1').update(body).digest()])

const treeOf = (entries: readonly (readonly [mode: string, name: string, oid: string])[]): Buffer =>
  Buffer.concat(
    entries.flatMap(([mode, name, oid]) => [
      Buffer.from(`${mode} ${name}\0`),
      Buffer.from(oid, 'hex'),
    ]),
  )

const blob = Buffer.from('x\n')
const blobOid = oidOf('blob', blob)

function commitOn(tree: string, parents: readonly string[] = []): Buffer {
  const lines = [`tree ${tree}`, ...parents.map((p) => `parent ${p}`)]
  return Buffer.from(
    `${lines.join('\n')}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nm\n`,
  )
}

test('packs that lie are refused, and leave nothing behind', async () => {
  const { history, folder } = await make()
  const tree = treeOf([['100644', 'a', blobOid]])
  const treeOid = oidOf('tree', tree)
  const whole: Entry[] = [
    { type: 'commit', bytes: commitOn(treeOid) },
    { type: 'tree', bytes: tree },
    { type: 'blob', bytes: blob },
  ]
  const good = packOf(whole)
  const bad = (name: string, mode = '100644'): Buffer =>
    packOf([
      { type: 'tree', bytes: treeOf([[mode, name, blobOid]]) },
      { type: 'blob', bytes: blob },
    ])
  const hostile: Readonly<Record<string, Buffer>> = {
    empty: Buffer.alloc(0),
    'not a pack': sealed(Buffer.from('PUCK00000000')),
    'cut short': good.subarray(0, good.length - 25),
    'wrong checksum': Buffer.concat([good.subarray(0, -1), Buffer.from([1])]),
    'missing blob': packOf(whole.slice(0, 2)),
    'missing tree': packOf(whole.slice(0, 1)),
    'missing parent': packOf([
      { type: 'commit', bytes: commitOn(treeOid, ['ab'.repeat(20)]) },
      ...whole.slice(1),
    ]),
    'more objects than said': packOf(whole, 2),
    'fewer objects than said': packOf(whole, 4),
    'a billion objects': packOf(whole, 0xffffffff),
    'an object twice': packOf([...whole, { type: 'blob', bytes: blob }]),
    'declared too small': packOf([{ type: 'blob', bytes: Buffer.alloc(1000), size: 10 }]),
    'declared too large': packOf([{ type: 'blob', bytes: Buffer.alloc(10), size: 1000 }]),
    'declared huge': packOf([{ type: 'blob', bytes: blob, size: 2 ** 40 }]),
    bomb: packOf([{ type: 'blob', bytes: Buffer.alloc(80 << 20) }]),
    'delta by offset': packOf([{ type: 'offset', bytes: blob }]),
    'delta by id': packOf([{ type: 'id', bytes: blob }]),
    'a parent folder': bad('..'),
    'this folder': bad('.'),
    'git folder': bad('.GIT'),
    'a slash': bad('a/b'),
    'no name': bad(''),
    'a link': bad('a', '120000'),
    'a submodule': bad('a', '160000'),
    'a tree cut short': packOf([{ type: 'tree', bytes: tree.subarray(0, -3) }]),
    'a tree unsorted': packOf([
      {
        type: 'tree',
        bytes: treeOf([
          ['100644', 'b', blobOid],
          ['100644', 'a', blobOid],
        ]),
      },
      { type: 'blob', bytes: blob },
    ]),
    'a name twice': packOf([
      {
        type: 'tree',
        bytes: treeOf([
          ['100644', 'a', blobOid],
          ['100644', 'a', blobOid],
        ]),
      },
      { type: 'blob', bytes: blob },
    ]),
    'no commit': packOf([{ type: 'commit', bytes: Buffer.from('hello\n') }]),
    'no tag': packOf([{ type: 'tag', bytes: Buffer.from('hello\n') }]),
  }
  for (const [what, pack] of Object.entries(hostile)) {
    await assert.rejects(
      history.importPack(pack),
      (error) => isCxvError(error, 'FORMAT_INVALID'),
      what,
    )
    assert.deepEqual(readdirSync(join(folder, 'objects', 'pack')), [], what)
  }
  await history.importPack(good)
})

test('any byte of a pack changed: refused, or the same history', async () => {
  const { history: from } = await make()
  const rows = imageRows(400)
  const id = await commitRows(from, rows, [])
  const pack = Buffer.from((await from.exportPack([id], [])) ?? [])
  const { history: to } = await make()
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: pack.length - 21 }),
      fc.integer({ min: 1, max: 255 }),
      async (at, x) => {
        const body = Buffer.from(pack.subarray(0, -20))
        body[at] = (body[at] ?? 0) ^ x
        try {
          await to.importPack(sealed(body))
        } catch (error) {
          assert.ok(isCxvError(error, 'FORMAT_INVALID'), String(error))
          return
        }
        // A flip may leave another valid deflate stream of the same bytes.
        if (await to.has(id)) assert.deepEqual(await to.manifest(id), rows)
      },
    ),
    { numRuns: 300 },
  )
})

/** A dataset commit whose manifest folder is as given, imported into a new history. */
async function hostileCommit(
  files: Readonly<Record<string, string>>,
  count: number,
): Promise<{ readonly history: History; readonly id: CommitId }> {
  const entries: Entry[] = []
  const add = (type: Type, bytes: Buffer): string => {
    const oid = oidOf(type, bytes)
    if (!entries.some((e) => oidOf(e.type, e.bytes) === oid)) entries.push({ type, bytes })
    return oid
  }
  const names = Object.keys(files).sort()
  const manifest = add(
    'tree',
    treeOf(names.map((name) => ['100644', name, add('blob', Buffer.from(files[name] ?? ''))])),
  )
  const dataset = `{\n  "format": 1,\n  "files": ${count},\n  "bytes": ${count}\n}\n`
  const root = add(
    'tree',
    treeOf([
      ['100644', 'dataset.json', add('blob', Buffer.from(dataset))],
      ['40000', 'manifest', manifest],
      ['100644', 'tables.json', add('blob', Buffer.from('[]\n'))],
    ]),
  )
  const id = add('commit', commitOn(root)) as CommitId
  const { history } = await make()
  await history.importPack(packOf(entries))
  return { history, id }
}

const line = (path: string): string => `100644 1 ${'ab'.repeat(32)}\t${path}\n`

test('manifests that lie are refused wherever they are read', async () => {
  const good = await hostileCommit({ first: line('a'), order: 'a\n' }, 1)
  assert.equal((await good.history.manifest(good.id)).length, 1)
  const hostile: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    'path escape': { first: line('../../etc/passwd'), order: '../../etc/passwd\n' },
    'git folder': { first: line('sub/.git/config'), order: 'sub/.git/config\n' },
    'no order': { first: line('a') },
    'order of another shard': { first: line('a'), order: 'b\n' },
    'a shard that is not there': { first: line('a'), order: 'a\nb\n' },
    'a shard that order hides': { first: line('a'), order: 'a\n', zzz: line('q') },
    'no first shard': { order: 'a\n' },
    'file and folder': { first: line('a') + line('a/b'), order: 'a\n' },
    'file and deep folder': { first: line('a') + line('a-b') + line('a/b/c/d'), order: 'a\n' },
    'empty shard': { first: '', order: 'a\n' },
  }
  for (const [what, files] of Object.entries(hostile)) {
    const { history, id } = await hostileCommit(files, 1)
    await assert.rejects(history.manifest(id), (e) => isCxvError(e, 'FORMAT_INVALID'), what)
    await history.casRef('refs/heads/main', null, id, 'hostile')
    const problems = await history.check()
    assert.equal(problems[0]?.ref, 'refs/heads/main', what)
  }
})

test('a manifest whose counts are wrong, or whose cuts are, is named by check', async () => {
  const many = Array.from({ length: 1000 }, (_, i) => line(String(100_000 + i))).join('')
  for (const [files, count] of [
    [{ first: line('a'), order: 'a\n' }, 2],
    [{ first: many, order: '100000\n' }, 1000],
  ] as const) {
    const { history, id } = await hostileCommit(files, count)
    await history.casRef('refs/heads/main', null, id, 'hostile')
    assert.equal((await history.check()).length, 1)
  }
})

test('a lost or damaged object is named, not returned', async () => {
  const { history, folder } = await make()
  const id = await commitRows(history, imageRows(300), [])
  await history.casRef('refs/heads/main', null, id, 'commit')
  const packs = join(folder, 'objects', 'pack')
  for (const name of readdirSync(packs)) if (name.endsWith('.pack')) rmSync(join(packs, name))
  const fresh = await openHistory(folder)
  await rejectsWith(fresh.manifest(id), 'FORMAT_INVALID')
  const problems = await fresh.check()
  assert.equal(problems.length, 1)
  assert.match(problems[0]?.problem ?? '', /missing/)
})

test('refs that hold nonsense are named, and leave the others readable', async () => {
  const { history, folder } = await make()
  const id = await commitRows(history, imageRows(3), [])
  await history.casRef('refs/heads/main', null, id, 'commit')
  writeFileSync(join(folder, 'refs', 'heads', 'bad'), 'nonsense\n')
  writeFileSync(join(folder, 'refs', 'heads', 'escape'), 'ref: ../../../etc/passwd\n')
  writeFileSync(join(folder, 'refs', 'heads', 'loop'), 'ref: refs/heads/loop\n')
  assert.equal(await history.resolve('HEAD'), id)
  const names = (await history.check()).map((row) => row.ref)
  assert.deepEqual(names, ['refs/heads/bad', 'refs/heads/escape', 'refs/heads/loop'])
})
