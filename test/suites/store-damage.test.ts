import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fs, {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type ContentId, isCxvError, type PackId } from '../../src/base/index.ts'
import { encodeRecipe, frameBody, scanPack } from '../../src/format/index.ts'
import { createPackBytes, encodePack } from '../helpers/pack-bytes.ts'
import { createStore, openStore } from '../../src/store/index.ts'
import type { FileToAdd, Store } from '../../src/store/types.ts'
import { testContext } from '../helpers/context.ts'
import { seededBytes } from '../helpers/seeded.ts'
import { addAll, importOne, sha256, writeFiles } from './store.suite.ts'

const top = mkdtempSync(join(tmpdir(), 'cxv-damage-'))
after(() => rmSync(top, { recursive: true, force: true }))

interface Made {
  readonly folder: string
  readonly files: readonly FileToAdd[]
  readonly ids: readonly ContentId[]
  open(): Promise<Store>
}

/** A closed store with ten small files and one of several chunks. */
async function made(): Promise<Made> {
  const work = mkdtempSync(join(top, 'work-'))
  const folder = join(work, '.cxv')
  mkdirSync(folder)
  await createStore(folder)
  const contents: Record<string, Uint8Array> = {}
  for (let i = 0; i < 10; i++) contents[`f${i}`] = seededBytes(i, 5_000)
  contents['large'] = seededBytes(99, 4_000_000)
  const files = writeFiles(join(work, 'files'), contents)
  const open = (): Promise<Store> => openStore(testContext(), folder)
  const store = await open()
  await addAll(store, files)
  await store.close()
  return { folder, files, ids: Object.values(contents).map(sha256), open }
}

async function packOf(store: Store, id: ContentId): Promise<string> {
  const [pack] = (await store.packsHolding([id])).keys()
  assert.ok(pack !== undefined)
  return store.packPath(pack)
}

/** Flips one bit in the middle of these bytes where they lie in the file. */
function flipBitOf(path: string, plain: Uint8Array): void {
  const bytes = readFileSync(path)
  const at = bytes.indexOf(plain)
  assert.ok(at > 0)
  bytes[at + (plain.length >> 1)]! ^= 1
  chmodSync(path, 0o644)
  writeFileSync(path, bytes)
}

const victim = seededBytes(3, 5_000)

test('a bit flip is found, named and never given out', async () => {
  const { open } = await made()
  const store = await open()
  flipBitOf(await packOf(store, sha256(victim)), victim)
  await assert.rejects(store.read(sha256(victim)), (error) => isCxvError(error, 'CHUNK_CORRUPT'))
  const pinned = await store.pinnedReader([sha256(victim)])
  await assert.rejects(pinned.read(sha256(victim)), (error) => isCxvError(error, 'CHUNK_CORRUPT'))
  await pinned.close()
  const target = {
    id: sha256(victim),
    size: 5_000,
    executable: false,
    absolutePath: join(top, 'x'),
  }
  await assert.rejects(
    async () => {
      for await (const batch of store.materialise([target])) assert.fail(String(batch.length))
    },
    (error) => isCxvError(error, 'CHUNK_CORRUPT'),
  )
  assert.deepEqual(
    readdirSync(top).filter((name) => name.startsWith('x')),
    [],
  )
  await store.close()
})

test('verify names what a flip destroyed; repair keeps the rest; adding again heals', async () => {
  const { open, ids, files, folder } = await made()
  let store = await open()
  const path = await packOf(store, sha256(victim))
  flipBitOf(path, victim)
  const found = await store.verify(ids, { deep: true, repair: false })
  assert.deepEqual(found.lost, [{ id: sha256(victim), reason: 'corrupt' }])
  assert.equal(found.damaged.length, 1)
  assert.ok(existsSync(path))

  const repaired = await store.verify(ids, { deep: true, repair: true })
  assert.deepEqual(repaired.lost, [{ id: sha256(victim), reason: 'corrupt' }])
  assert.equal(repaired.setAside.length, 1)
  assert.ok(!existsSync(path))
  assert.equal(readdirSync(join(folder, 'bad')).length, 1)
  assert.deepEqual([...(await store.missing(ids))], [sha256(victim)])

  const added = await addAll(store, files)
  assert.equal(added.filter((file) => file.status === 'added').length, 1)
  const clean = await store.verify(ids, { deep: true, repair: false })
  assert.deepEqual([clean.lost, clean.damaged], [[], []])
  await store.close()
  store = await open()
  assert.equal(sha256(await store.read(sha256(victim))), sha256(victim))
  await store.close()
})

test('adding again heals a damaged chunk that the index believes in, also after a rebuild', async () => {
  const { open, files, folder } = await made()
  let store = await open()
  flipBitOf(await packOf(store, sha256(victim)), victim)
  const added = await addAll(store, files)
  assert.equal(added.filter((file) => file.status === 'added').length, 1)
  assert.equal(sha256(await store.read(sha256(victim))), sha256(victim))
  await store.close()
  // Two packs now claim the chunk, whichever the new index names.
  rmSync(join(folder, 'index'), { recursive: true })
  store = await open()
  assert.equal(sha256(await store.read(sha256(victim))), sha256(victim))
  await store.close()
})

test('a lost pack is noticed at the next open, and adding again brings it back', async () => {
  const { open, ids, files } = await made()
  let store = await open()
  const path = await packOf(store, sha256(victim))
  await store.close()
  unlinkSync(path)
  store = await open()
  assert.ok((await store.missing(ids)).has(sha256(victim)))
  await addAll(store, files)
  assert.equal((await store.missing(ids)).size, 0)
  assert.deepEqual((await store.verify(ids, { deep: true, repair: false })).lost, [])
  await store.close()
})

test('a truncated pack: the frames before the cut are kept, the others named', async () => {
  const { open, ids, files } = await made()
  let store = await open()
  const path = await packOf(store, sha256(victim))
  await store.close()
  chmodSync(path, 0o644)
  truncateSync(path, readFileSync(path).length / 2)
  store = await open()
  const quick = await store.verify(ids, { deep: false, repair: false })
  assert.equal(quick.damaged.length, 1)
  const lost = quick.lost.map(({ id }) => id)
  assert.ok(lost.length > 0 && lost.length < ids.length, `${lost.length} lost`)
  for (const id of ids) {
    if (!lost.includes(id)) assert.equal(sha256(await store.read(id)), id)
  }
  await addAll(store, files)
  assert.deepEqual((await store.verify(ids, { deep: true, repair: true })).lost, [])
  assert.deepEqual((await store.verify(ids, { deep: true, repair: false })).damaged, [])
  await store.close()
})

test('a damaged table: the frames are found without it', async () => {
  const { open, ids, folder } = await made()
  let store = await open()
  for (const pack of await store.packs()) {
    const path = store.packPath(pack)
    const bytes = readFileSync(path)
    bytes[bytes.length - 30]! ^= 0xff
    chmodSync(path, 0o644)
    writeFileSync(path, bytes)
  }
  await store.close()
  rmSync(join(folder, 'index'), { recursive: true })
  store = await open()
  assert.equal((await store.missing(ids)).size, 0)
  for (const id of ids) assert.equal(sha256(await store.read(id)), id)
  const report = await store.verify(ids, { deep: true, repair: true })
  assert.deepEqual([report.lost, report.setAside.length], [[], report.damaged.length])
  assert.equal((await store.missing(ids)).size, 0)
  await store.close()
})

test('any damage to the index costs nothing but its rebuild', async () => {
  for (const damage of ['garbage', 'removed', 'truncated'] as const) {
    const { open, ids, folder } = await made()
    const index = join(folder, 'index')
    for (const name of readdirSync(index)) {
      if (name === 'LOCK') continue
      if (damage === 'garbage') writeFileSync(join(index, name), seededBytes(1, 500))
      if (damage === 'removed' && name !== 'CURRENT') unlinkSync(join(index, name))
      if (damage === 'truncated') truncateSync(join(index, name), 3)
    }
    const store = await open()
    assert.equal((await store.missing(ids)).size, 0, damage)
    for (const id of ids) assert.equal(sha256(await store.read(id)), id)
    await store.close()
  }
})

test('a wrong recipe in a pack is refused on reading and replaced by adding again', async () => {
  const { open, files, folder } = await made()
  const large = seededBytes(99, 4_000_000)
  let store = await open()
  for (const [pack] of await store.packsHolding([sha256(large)])) unlinkSync(store.packPath(pack))
  await store.close()
  // A pack whose every check passes, and whose recipe is of other bytes.
  const other = seededBytes(98, 4_000_000)
  const { id, bytes } = createPackBytes([{ contentOf: large, chunks: [other] }])
  store = await open()
  await importOne(store, id, bytes)
  assert.equal((await store.missing([sha256(large)])).size, 0)
  await assert.rejects(store.read(sha256(large)), (error) => isCxvError(error, 'CHUNK_CORRUPT'))
  const deep = await store.verify([sha256(large)], { deep: true, repair: false })
  assert.deepEqual(deep.lost, [{ id: sha256(large), reason: 'corrupt' }])
  await addAll(store, files)
  assert.equal(sha256(await store.read(sha256(large))), sha256(large))
  await store.close()
  assert.ok(existsSync(folder))
})

test('a pack with another name, or any byte changed, is not imported', async () => {
  const { open } = await made()
  const store = await open()
  const { id, bytes } = createPackBytes([{ contentOf: seededBytes(5, 100), chunks: [] }])
  const before = await store.packs()
  for (let at = 0; at < bytes.length; at += 7) {
    const bad = bytes.slice()
    bad[at]! ^= 0x10
    await assert.rejects(importOne(store, id, bad), (error) => isCxvError(error, 'PACK_CORRUPT'))
  }
  await assert.rejects(importOne(store, '0'.repeat(64) as PackId, bytes), (error) =>
    isCxvError(error, 'PACK_CORRUPT'),
  )
  assert.deepEqual(await store.packs(), before)
  await importOne(store, id, bytes)
  await importOne(store, id, bytes)
  assert.equal((await store.packs()).length, before.length + 1)
  // A pack of this size goes to a thread, whose refusal must arrive as it was.
  const large = createPackBytes(
    Array.from({ length: 6 }, (_, i) => ({ contentOf: seededBytes(i, 1 << 20), chunks: [] })),
  )
  const bad = large.bytes.slice()
  bad[3_000_000]! ^= 1
  await assert.rejects(importOne(store, large.id, bad), (error) =>
    isCxvError(error, 'PACK_CORRUPT'),
  )
  assert.equal((await store.packs()).length, before.length + 1)
  await importOne(store, large.id, large.bytes)
  await store.close()
})

test('chunk lists from outside that are wrong never hide the right one', async () => {
  const { open, folder } = await made()
  const large = seededBytes(99, 4_000_000)
  const id = sha256(large)
  let store = await open()
  // Several: after a rebuild, which follows the packs' names, one of them comes after the right one.
  for (let i = 0; i < 5; i++) {
    const lie = createPackBytes([{ contentOf: large, chunks: [seededBytes(200 + i, 900_000)] }])
    await importOne(store, lie.id, lie.bytes)
  }
  assert.equal(sha256(await store.read(id)), id)
  await store.close()
  const forgetIndex = (): void => rmSync(join(folder, 'index'), { recursive: true })

  forgetIndex()
  store = await open()
  assert.equal((await store.missing([id])).size, 0)
  assert.deepEqual((await store.verify([id], { deep: true, repair: false })).lost, [])
  await store.close()

  forgetIndex()
  store = await open()
  assert.equal(sha256(await store.read(id)), id)
  await store.close()

  forgetIndex()
  store = await open()
  const absolutePath = join(folder, 'written')
  const target = { id, size: large.length, executable: false, absolutePath }
  for await (const batch of store.materialise([target])) assert.equal(batch.length, 1)
  assert.equal(sha256(readFileSync(absolutePath)), id)
  await store.close()
})

test('a chunk list of chunks that are not here does not hide one whose chunks are', async () => {
  const { open, folder } = await made()
  const large = seededBytes(99, 4_000_000)
  const id = sha256(large)
  let store = await open()
  for (let i = 0; i < 5; i++) {
    const part = { id: createHash('sha256').update(`${i}`).digest(), length: 4_000_000 }
    const body = encodeRecipe(Buffer.from(id, 'hex'), { size: 4_000_000, parts: [part] })
    const lie = encodePack('meta', [
      {
        kind: 'recipe',
        codec: 'stored',
        id: Buffer.from(id, 'hex'),
        body,
        plainLength: body.length,
      },
    ])
    await importOne(store, lie.id, lie.bytes)
  }
  await store.close()
  rmSync(join(folder, 'index'), { recursive: true })
  store = await open()
  assert.equal((await store.missing([id])).size, 0)
  assert.equal(sha256(await store.read(id)), id)
  await store.close()
})

test('a sector that cannot be read costs its frame; repair keeps the others', async (t) => {
  const { open, ids } = await made()
  const store = await open()
  const path = await packOf(store, sha256(victim))
  const from = Math.ceil(readFileSync(path).indexOf(victim) / 512) * 512
  const { readSync } = fs
  const reading = (
    fd: number,
    into: NodeJS.ArrayBufferView,
    at: number,
    n: number,
    pos: number,
  ) => {
    const bad =
      fs.readlinkSync(`/proc/self/fd/${fd}`) === path && pos < from + 512 && pos + n > from
    if (bad) throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' })
    return readSync(fd, into, at, n, pos)
  }
  t.mock.method(fs, 'readSync', reading as typeof readSync)
  syncBuiltinESMExports()
  const report = await store.verify(ids, { deep: true, repair: true })
  t.mock.restoreAll()
  syncBuiltinESMExports()
  assert.equal(report.setAside.length, 1)
  assert.deepEqual([...(await store.missing(ids))], [sha256(victim)])
  for (const id of ids) if (id !== sha256(victim)) assert.equal(sha256(await store.read(id)), id)
  await store.close()
})

test('a damaged chunk of a large file is written from its other copy', async () => {
  const { open, folder } = await made()
  const large = seededBytes(99, 4_000_000)
  const store = await open()
  const paths = [...(await store.packsHolding([sha256(large)])).keys()].map(store.packPath)
  const path = paths.find((of) => fs.statSync(of).size > large.length)
  assert.ok(path !== undefined)
  // The same chunks once more, as from a remote: the copy is known, and not yet used.
  const other = join(mkdtempSync(join(top, 'other-')), 'copy')
  const copy = copyOfChunks(path)
  await importOne(store, copy.id, copy.bytes)
  flipBitOf(path, large.subarray(large.length - 20_000))
  const target = { id: sha256(large), size: large.length, executable: false, absolutePath: other }
  for await (const batch of store.materialise([target])) assert.equal(batch.length, 1)
  assert.equal(sha256(readFileSync(other)), sha256(large))
  await store.close()
  assert.ok(existsSync(folder))
})

/** A pack of the same frames and one more, so that it has another name. */
function copyOfChunks(path: string): ReturnType<typeof encodePack> {
  const bytes = readFileSync(path)
  const frames = scanPack(bytes).entries.map((entry) => ({
    ...entry,
    body: new Uint8Array(frameBody(bytes, entry.offset, entry)),
    codec: 'stored' as const,
  }))
  const more = seededBytes(77, 10)
  return encodePack('data', [
    ...frames,
    {
      kind: 'chunk',
      codec: 'stored',
      id: Buffer.from(sha256(more), 'hex'),
      body: more,
      plainLength: 10,
    },
  ])
}
