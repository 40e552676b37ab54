import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { isCxvError } from '../base/index.ts'
import { createPackBytes } from '../../test/helpers/pack-bytes.ts'
import { seededBytes } from '../../test/helpers/seeded.ts'
import { tempFolder } from '../../test/helpers/temp.ts'
import { importOnePack } from './importer.ts'
import { packPath } from './paths.ts'

const contents = [seededBytes(1, 300_000), seededBytes(2, 1_000)]
const { id, bytes } = createPackBytes(contents.map((contentOf) => ({ contentOf, chunks: [] })))

function setUp(t: TestContext) {
  const top = tempFolder(t)
  const packs = join(top, 'packs')
  const path = join(top, 'pack-of-a-remote')
  mkdirSync(packs)
  const link = (sizeBytes = bytes.length) =>
    importOnePack(
      { packs, temporaries: join(top, 'tmp') },
      {
        id,
        source: { path, sizeBytes },
        paths: '',
        executable: new Uint8Array(),
        ids: new Uint8Array(),
      },
    )
  return { packs, path, link }
}

const filesIn = (packs: string): string[] =>
  readdirSync(packs, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.(pack|tmp)/.test(name),
  )

test('a pack is taken in by a hard link, once and again', async (t) => {
  const { packs, path, link } = setUp(t)
  writeFileSync(path, bytes, { mode: 0o644 })
  for (let i = 0; i < 2; i++) {
    const done = await link()
    assert.equal(done?.kind, 'data')
    assert.equal(statSync(packPath(packs, id)).ino, statSync(path).ino)
    assert.deepEqual(filesIn(packs), [`${id.slice(0, 2)}/${id}.pack`])
  }
})

test('packs that are linked at the same time are each read into memory of their own', async (t) => {
  const top = tempFolder(t)
  const folders = { packs: join(top, 'packs'), temporaries: join(top, 'tmp') }
  const all = Array.from({ length: 4 }, (_, i) => {
    // Small ones are read together, large ones each into memory that all on this thread share.
    const contents = [50_000, 300_000, 400_001, 20_000, 700_000].map((size, k) =>
      seededBytes(100 * i + k, size),
    )
    const pack = createPackBytes(contents.map((contentOf) => ({ contentOf, chunks: [] })))
    const path = join(top, `${i}`)
    writeFileSync(path, pack.bytes, { mode: 0o644 })
    return { path, pack, contents }
  })
  const done = await Promise.all(
    all.map(({ path, pack }, i) =>
      importOnePack(folders, {
        id: pack.id,
        source: { path, sizeBytes: pack.bytes.length },
        paths: all[i]!.contents.map((_, k) => join(top, `out-${i}-${k}`)).join('\0'),
        executable: new Uint8Array(5),
        ids: Buffer.concat(all[i]!.contents.map((c) => createHash('sha256').update(c).digest())),
      }),
    ),
  )
  for (const [i, { contents }] of all.entries()) {
    assert.equal(done[i]?.files.length, 5)
    for (const [k, of] of contents.entries()) {
      assert.ok(readFileSync(join(top, `out-${i}-${k}`)).equals(of), `${i} ${k}`)
    }
  }
})

test('what others can write, links, pipes and files of another size are not linked', async (t) => {
  const { packs, path, link } = setUp(t)
  assert.equal(await link(), undefined)
  writeFileSync(path, bytes)
  chmodSync(path, 0o664)
  assert.equal(await link(), undefined)
  chmodSync(path, 0o644)
  assert.equal(await link(bytes.length - 1), undefined)
  assert.equal(await link(bytes.length + 1), undefined)
  assert.equal(await link(1 << 30), undefined)
  const real = `${path}-real`
  for (const make of [
    () => symlinkSync(real, path),
    () => execFileSync('mkfifo', [path]),
    () => mkdirSync(path),
  ]) {
    rmSync(path, { force: true, recursive: true })
    writeFileSync(real, bytes)
    make()
    assert.equal(await link(), undefined)
  }
  assert.deepEqual(filesIn(packs), [])
})

test('a damaged pack is not linked, and leaves nothing', async (t) => {
  const { packs, path, link } = setUp(t)
  const bad = Uint8Array.from(bytes)
  bad[5_000]! ^= 1
  writeFileSync(path, bad, { mode: 0o644 })
  await assert.rejects(link(), (error) => isCxvError(error, 'PACK_CORRUPT'))
  assert.ok(!existsSync(packPath(packs, id)))
  assert.deepEqual(filesIn(packs), [])
})

for (const linked of [true, false]) {
  test(`files of every size are what they were, of a pack that is ${linked ? 'linked' : 'copied'}`, async (t) => {
    const top = tempFolder(t)
    const packs = join(top, 'packs')
    const sizes = [300_000, 0, 1_000, 262_088, 262_144, 1 << 20, 700_000, 3_000]
    const all: Uint8Array[] = sizes.map((size, i) => seededBytes(70 + i, size))
    // Deflated: a body that is read among others; one read alone, whose plain bytes lie elsewhere; and one
    // whose plain bytes are more than fit where the body was read.
    for (const [noise, words] of [
      [0, 600_000],
      [300_000, 300_000],
      [800_000, 800_000],
    ] as const) {
      all.push(
        Buffer.concat([
          seededBytes(90, noise / 2),
          Buffer.alloc(words, 'chest '),
          seededBytes(91, noise / 2),
        ]),
      )
    }
    const pack = createPackBytes(all.map((contentOf) => ({ contentOf, chunks: [] })))
    const path = join(top, 'pack')
    writeFileSync(path, pack.bytes, { mode: 0o644 })
    // Each twice: one of them is written from the memory that the other was copied from.
    const twice = [...all, ...all]
    const done = await importOnePack(
      { packs, temporaries: join(top, 'tmp') },
      {
        id: pack.id,
        source: linked ? { path, sizeBytes: pack.bytes.length } : Uint8Array.from(pack.bytes),
        paths: twice.map((_, i) => join(top, `out-${i}`)).join('\0'),
        executable: new Uint8Array(twice.length),
        ids: Buffer.concat(twice.map((of) => createHash('sha256').update(of).digest())),
      },
    )
    assert.equal(done?.files.length, twice.length)
    for (const [i, of] of twice.entries()) {
      assert.ok(readFileSync(join(top, `out-${i}`)).equals(of), `${i}: ${of.length} bytes`)
      assert.equal(done.files[i]?.size, of.length)
    }
  })

  test(`a file that cannot be written ends the ${linked ? 'link' : 'copy'} of its pack`, async (t) => {
    const top = tempFolder(t)
    const packs = join(top, 'packs')
    const all = Array.from({ length: 9 }, (_, i) => seededBytes(50 + i, 300_000))
    const pack = createPackBytes(all.map((contentOf) => ({ contentOf, chunks: [] })))
    const path = join(top, 'pack')
    writeFileSync(path, pack.bytes, { mode: 0o644 })
    const ids = Buffer.concat(all.map((bytes) => createHash('sha256').update(bytes).digest()))
    const paths = all.map((_, i) => join(top, i === 1 ? 'no-such-folder/x' : `out-${i}`)).join('\0')
    const job = { id: pack.id, paths, executable: new Uint8Array(9), ids }
    const source = linked ? { path, sizeBytes: pack.bytes.length } : Uint8Array.from(pack.bytes)
    await assert.rejects(
      importOnePack({ packs, temporaries: join(top, 'tmp') }, { ...job, source }),
      /no-such-folder/,
    )
    assert.deepEqual(filesIn(packs), linked ? [] : [`${pack.id.slice(0, 2)}/${pack.id}.pack`])
    assert.deepEqual(readdirSync(join(top, 'tmp')), [])
    assert.ok(!existsSync(join(top, 'out-8')), 'the rest is not tried')
  })
}
