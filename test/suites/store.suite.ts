import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { type ContentId, contentId, isCxvError } from '../../src/base/index.ts'
import type { AddedFile, FileToAdd, PackImporter, Store } from '../../src/store/types.ts'
import { seededBytes, seededText } from '../helpers/seeded.ts'
import type { TestFn } from '../helpers/test-fn.ts'

export interface StoreSuite {
  readonly test: TestFn
  readonly name: string
  make(): Promise<{
    readonly store: Store
    /** An empty folder for files. */
    readonly folder: string
    /** The same store, closed and opened again. */
    reopen(): Promise<Store>
    dispose(): Promise<void>
  }>
}

export const sha256 = (bytes: Uint8Array): ContentId =>
  contentId(createHash('sha256').update(bytes).digest('hex'))

export function writeFiles(
  folder: string,
  contents: Readonly<Record<string, Uint8Array>>,
): FileToAdd[] {
  return Object.entries(contents).map(([path, bytes]) => {
    const absolutePath = join(folder, path)
    mkdirSync(dirname(absolutePath), { recursive: true })
    writeFileSync(absolutePath, bytes)
    return { path, absolutePath }
  })
}

export async function addAll(store: Store, files: Iterable<FileToAdd>): Promise<AddedFile[]> {
  const added: AddedFile[] = []
  for await (const batch of store.addFiles(files)) added.push(...batch)
  return added
}

export async function importOne(
  store: Store,
  ...pack: Parameters<PackImporter['import']>
): ReturnType<PackImporter['import']> {
  const importer = store.openImporter()
  try {
    return await importer.import(...pack)
  } finally {
    await importer.close()
  }
}

/** Small and large, compressible and not, empty, equal, a DICOM-sized one of several chunks. */
const mixed = (): Record<string, Uint8Array> => ({
  'a/empty': new Uint8Array(),
  'a/one-byte': Uint8Array.of(7),
  'a/noise': seededBytes(1, 300_000),
  'a/text.csv': seededText(3, 9_000),
  'b/same-noise': seededBytes(1, 300_000),
  'b/just-one-chunk': seededBytes(2, 1 << 20),
  'b/large-noise': seededBytes(3, 9_000_001),
  'b/large-text': seededText(5, 300_000),
  'b/zeros': new Uint8Array(5_000_000),
})

/** What every store must do, however it keeps its bytes. */
export function storeSuite({ test, name, make }: StoreSuite): void {
  type Made = Awaited<ReturnType<StoreSuite['make']>>
  const it = (what: string, fn: (made: Made) => Promise<void>): void =>
    test(`${name}: ${what}`, async () => {
      const made = await make()
      try {
        await fn(made)
      } finally {
        await made.dispose()
      }
    })

  it('files come back bit for bit under their SHA-256, also after reopening', async (made) => {
    const contents = mixed()
    const files = writeFiles(made.folder, contents)
    const added = await addAll(made.store, files)
    assert.deepEqual(
      added.map((file) => [file.path, file.status === 'failed' ? '' : file.id]),
      Object.entries(contents).map(([path, bytes]) => [path, sha256(bytes)]),
    )
    for (const open of [() => Promise.resolve(made.store), made.reopen]) {
      const store = await open()
      for (const bytes of Object.values(contents)) {
        assert.deepEqual(Buffer.from(await store.read(sha256(bytes))), Buffer.from(bytes))
      }
    }
  })

  it('a large file is heard of while it is read, each byte once', async ({ store, folder }) => {
    const size = 23_000_001
    const files = writeFiles(folder, { large: seededBytes(4, size), small: seededBytes(5, 100) })
    const told: number[] = []
    for await (const batch of store.addFiles(files, { onBytes: (_files, n) => told.push(n) })) {
      assert.ok(batch.every((file) => file.status === 'added'))
    }
    assert.equal(
      told.reduce((sum, n) => sum + n, 0),
      size + 100,
    )
    assert.ok(told.length > 3, `${told.length}`)
  })

  it('readMany, stream and a pinned reader give the same bytes', async ({ store, folder }) => {
    const contents = mixed()
    await addAll(store, writeFiles(folder, contents))
    const ids = Object.values(contents).map(sha256)
    const pinned = await store.pinnedReader(ids)
    await store.close()
    const seen = new Set<ContentId>()
    for await (const [id, bytes] of pinned.readMany(ids)) {
      assert.equal(sha256(bytes), id)
      assert.ok(!seen.has(id))
      seen.add(id)
    }
    assert.deepEqual(seen, new Set(ids))
    for (const id of ids) {
      const pieces: Uint8Array[] = []
      for await (const piece of pinned.stream(id)) pieces.push(piece)
      assert.equal(sha256(Buffer.concat(pieces)), id)
    }
    await pinned.close()
  })

  it('equal bytes are stored once, whatever thread meets them', async ({ store, folder }) => {
    const noise = seededBytes(9, 40_000)
    const contents: Record<string, Uint8Array> = {}
    for (let i = 0; i < 700; i++)
      contents[`f/${i}`] = i % 7 === 0 ? noise : seededBytes(1_000 + i, 500)
    const added = await addAll(store, writeFiles(folder, contents))
    assert.equal(added.length, 700)
    assert.equal((await store.stats()).chunks, 601)
    assert.equal(added.filter((file) => file.status === 'added').length, 601)
    const again = await addAll(store, writeFiles(folder, contents))
    assert.ok(again.every((file) => file.status === 'known' && file.newBytes === 0))
    assert.equal((await store.stats()).chunks, 601)
  })

  it('an insert in a large file stores little anew', async ({ store, folder }) => {
    const bytes = seededBytes(11, 12_000_000)
    const [first] = await addAll(store, writeFiles(folder, { 'x.bin': bytes }))
    const edited = Buffer.concat([
      bytes.subarray(0, 100),
      Buffer.from('inserted'),
      bytes.subarray(100),
    ])
    const [second] = await addAll(store, writeFiles(folder, { 'x.bin': edited }))
    assert.ok(first?.status === 'added' && first.newBytes >= bytes.length)
    assert.ok(
      second?.status === 'added' && second.newBytes < 5_000_000,
      JSON.stringify(second?.status),
    )
    assert.deepEqual(Buffer.from(await store.read(sha256(edited))), edited)
  })

  it('a new header leaves the pixels of an uncompressed DICOM as they are stored', async (made) => {
    const pixels = seededBytes(12, 5_000_000)
    const dicom = (name: string): Uint8Array => {
      const element = (tag: number, vr: string, value: Uint8Array, long = false): Buffer => {
        const head = Buffer.alloc(long ? 12 : 8)
        head.writeUInt16LE(tag >>> 16, 0)
        head.writeUInt16LE(tag & 0xffff, 2)
        head.write(vr, 4, 'latin1')
        if (long) head.writeUInt32LE(value.length, 8)
        else head.writeUInt16LE(value.length, 6)
        return Buffer.concat([head, value])
      }
      return Buffer.concat([
        Buffer.alloc(128),
        Buffer.from('DICM'),
        element(0x00020010, 'UI', Buffer.from('1.2.840.10008.1.2.1\0')),
        element(0x00100010, 'PN', Buffer.from(name)),
        element(0x7fe00010, 'OW', pixels, true),
      ])
    }
    const named = writeFiles(made.folder, { 'a.dcm': dicom('Doe^Jane') })
    const anonymous = writeFiles(made.folder, { 'b.dcm': dicom('removed by the study') })
    await addAll(made.store, named)
    const [file] = await addAll(made.store, anonymous)
    assert.ok(file?.status === 'added' && file.newBytes < 2_000, JSON.stringify(file?.status))
    assert.equal(sha256(await made.store.read(file.id)), file.id)
  })

  it('facts are those of the file; failures are results', async ({ store, folder }) => {
    const files = writeFiles(folder, {
      'run.sh': Buffer.from('#!/bin/sh\n'),
      plain: Buffer.from('x'),
    })
    chmodSync(join(folder, 'run.sh'), 0o755)
    symlinkSync('plain', join(folder, 'link'))
    mkdirSync(join(folder, 'dir'))
    const extra = ['link', 'dir', 'absent'].map((path) => ({
      path,
      absolutePath: join(folder, path),
    }))
    const added = await addAll(store, [...files, ...extra])
    const stat = statSync(join(folder, 'run.sh'), { bigint: true })
    assert.deepEqual(added[0]?.status === 'failed' ? undefined : added[0]?.stat, {
      size: 10,
      mtimeNs: stat.mtimeNs,
      ctimeNs: stat.ctimeNs,
      ino: stat.ino,
      dev: stat.dev,
      executable: true,
    })
    assert.deepEqual(
      added.map((file) => [file.path, file.status === 'failed' ? file.code : file.status]),
      [
        ['run.sh', 'added'],
        ['plain', 'added'],
        ['link', 'PATH_UNSUPPORTED'],
        ['dir', 'PATH_UNSUPPORTED'],
        ['absent', 'PATH_NOT_FOUND'],
      ],
    )
  })

  it('materialise writes the files, their modes and their facts', async ({ store, folder }) => {
    const contents = mixed()
    for (let i = 0; i < 300; i++) contents[`many/${i}`] = seededBytes(50 + i, 100 + i)
    const files = writeFiles(folder, contents)
    await addAll(store, files)
    const out = join(folder, 'out')
    const wanted = Object.entries(contents).map(([path, bytes]) => ({
      id: sha256(bytes),
      size: bytes.length,
      executable: path === 'a/noise',
      absolutePath: join(out, path),
    }))
    for (const path of ['a', 'b', 'many']) mkdirSync(join(out, path), { recursive: true })
    writeFileSync(join(out, 'a/one-byte'), 'something older')
    let reported = 0
    let written = 0
    for await (const batch of store.materialise(wanted, { onBytes: (n) => (reported += n) })) {
      for (const { absolutePath, stat } of batch) {
        const real = statSync(absolutePath, { bigint: true })
        assert.deepEqual(
          [stat.mtimeNs, stat.ctimeNs, stat.ino, BigInt(stat.size)],
          [real.mtimeNs, real.ctimeNs, real.ino, real.size],
        )
        written++
      }
    }
    assert.deepEqual([written, reported], [wanted.length, wanted.length])
    for (const { absolutePath, id, executable } of wanted) {
      assert.equal(sha256(readFileSync(absolutePath)), id)
      assert.equal((statSync(absolutePath).mode & 0o100) !== 0, executable)
    }
  })

  it('a pack writes the files it holds as it is taken in, and gives its memory back', async (made) => {
    const contents: Record<string, Uint8Array> = {}
    // Enough for a pack that goes to a thread, and one that does not.
    for (let i = 0; i < 12; i++) contents[`noise-${i}`] = seededBytes(500 + i, 500_000 + i)
    const many = writeFiles(made.folder, contents)
    const few = writeFiles(made.folder, {
      text: seededText(4, 500),
      twin: seededText(4, 500),
    })
    await addAll(made.store, many)
    await addAll(made.store, few)
    const other = await make()
    try {
      const files = [...many, ...few].map(({ path, absolutePath }) => ({
        id: sha256(readFileSync(absolutePath)),
        size: statSync(absolutePath).size,
        executable: path === 'noise-3',
        absolutePath: join(made.folder, `out-${path}`),
      }))
      const sizes: number[] = []
      // Twins are one content: its pack writes both.
      const written = new Set<string>()
      for (const pack of await made.store.packs()) {
        const bytes = new Uint8Array(readFileSync(made.store.packPath(pack)))
        const { length } = bytes
        sizes.push(length)
        const done = await importOne(other.store, pack, bytes, files)
        assert.equal(done.bytes.length, length)
        for (const { absolutePath, stat } of done.written) {
          assert.equal(statSync(absolutePath, { bigint: true }).ino, stat.ino)
          written.add(absolutePath)
        }
      }
      assert.ok(Math.max(...sizes) > 4 << 20 && Math.min(...sizes) < 1 << 20)
      assert.equal(written.size, files.length)
      for (const { id, absolutePath, executable } of files) {
        assert.equal(sha256(readFileSync(absolutePath)), id)
        assert.equal((statSync(absolutePath).mode & 0o100) !== 0, executable)
      }
      const ids = files.map(({ id }) => id)
      const deep = await other.store.verify(ids, { deep: true, repair: false })
      assert.deepEqual([deep.lost, deep.damaged], [[], []])
    } finally {
      await other.dispose()
    }
  })

  it('what is absent is named', async ({ store }) => {
    const id = sha256(Buffer.from('never added'))
    assert.deepEqual(await store.missing([id]), new Set([id]))
    await assert.rejects(store.read(id), (error) => isCxvError(error, 'CHUNK_MISSING'))
    await assert.rejects(store.pinnedReader([id]), (error) => isCxvError(error, 'CHUNK_MISSING'))
    await assert.rejects(
      async () => {
        for await (const [read] of store.readMany([id])) assert.fail(read)
      },
      (error) => isCxvError(error, 'CHUNK_MISSING'),
    )
  })

  it('put: small, large and twice', async ({ store }) => {
    for (const bytes of [new Uint8Array(), seededText(1, 50), seededBytes(4, 3_000_000)]) {
      const id = await store.put(bytes)
      assert.equal(id, sha256(bytes))
      const before = await store.stats()
      assert.equal(await store.put(bytes), id)
      assert.deepEqual(await store.stats(), before)
      assert.deepEqual(Buffer.from(await store.read(id)), Buffer.from(bytes))
    }
    const id = await store.put(seededBytes(4, 3_000_000))
    await assert.rejects(store.read(id, { maxBytes: 1_000 }), (error) =>
      isCxvError(error, 'TOO_LARGE'),
    )
  })

  it('packs travel: another store imports them and reads everything', async (made) => {
    const contents = mixed()
    await addAll(made.store, writeFiles(made.folder, contents))
    const other = await make()
    try {
      const ids = Object.values(contents).map(sha256)
      const holding = await made.store.packsHolding(ids)
      assert.deepEqual(new Set(holding.keys()), new Set(await made.store.packs()))
      for (const pack of holding.keys()) {
        const bytes = new Uint8Array(readFileSync(made.store.packPath(pack)))
        await importOne(other.store, pack, bytes)
      }
      assert.equal((await other.store.missing(ids)).size, 0)
      for (const id of ids) assert.equal(sha256(await other.store.read(id)), id)
    } finally {
      await other.dispose()
    }
  })

  it('cache: sorted, by prefix, atomic', async ({ store, reopen }) => {
    const value = (text: string): Uint8Array => Buffer.from(text)
    await store.cache.write([
      ['s/b', value('2')],
      ['s/a', value('1')],
      ['s/ü', value('3')],
      ['t/a', value('4')],
    ])
    await store.cache.write([
      ['s/b', undefined],
      ['s/c', value('5')],
    ])
    const again = await reopen()
    const rows: [string, string][] = []
    for await (const batch of again.cache.entries('s/')) {
      for (const [key, bytes] of batch) rows.push([key, Buffer.from(bytes).toString()])
    }
    assert.deepEqual(rows, [
      ['a', '1'],
      ['c', '5'],
      ['ü', '3'],
    ])
    assert.equal(await again.cache.get('s/b'), undefined)
    const [got, absent] = await again.cache.getMany(['t/a', 'nothing'])
    assert.deepEqual([Buffer.from(got ?? []).toString(), absent], ['4', undefined])
  })

  it('a file that grows while it is read fails by itself', async ({ store, folder }) => {
    const [file] = writeFiles(folder, { 'growing.log': seededBytes(1, 6_000_000) })
    const added = addAll(
      store,
      (function* () {
        if (file !== undefined) yield file
      })(),
    )
    const timer = setInterval(() => appendFileSync(join(folder, 'growing.log'), 'more'), 0)
    const [result] = await added.finally(() => clearInterval(timer))
    // Whether a write falls into the read is the machine's choice; the answer must fit either way.
    if (result?.status === 'failed') assert.equal(result.code, 'FILE_CHANGED')
    else
      assert.equal(
        (await store.read(result?.id ?? sha256(new Uint8Array()))).length,
        result?.stat.size,
      )
  })
}
