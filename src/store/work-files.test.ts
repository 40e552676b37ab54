import assert from 'node:assert/strict'
import fs, {
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { isCxvError } from '../base/index.ts'
import { seededBytes } from '../../test/helpers/seeded.ts'
import { tempFolder } from '../../test/helpers/temp.ts'
import { createWorkFileWriter, FILE_AT, FILE_MEMORY_BYTES, takeFileMemory } from './work-files.ts'

for (const size of [10, 400_000]) {
  test(`of ${size} bytes: the facts are those of what was written, whoever writes next`, (t) => {
    const folder = tempFolder(t)
    const writer = createWorkFileWriter(join(folder, 'tmp'))
    const write = (name: string): bigint | undefined =>
      writer.write(join(folder, name), size, [Buffer.alloc(size, 'a')], undefined, false)?.mtimeNs
    const mtimeOf = (name: string): bigint => statSync(join(folder, name), { bigint: true }).mtimeNs
    assert.equal(write('calm'), mtimeOf('calm'))

    const { renameSync } = fs
    t.mock.method(fs, 'renameSync', (from: string, to: string) => {
      renameSync(from, to)
      // A program that waits for the file to appear, and keeps its length.
      writeFileSync(to, Buffer.alloc(size, 'b'))
      utimesSync(to, new Date(), new Date(Date.now() + 5))
    })
    syncBuiltinESMExports()
    t.after(() => {
      t.mock.restoreAll()
      syncBuiltinESMExports()
    })
    assert.notEqual(write('raced'), mtimeOf('raced'))
    assert.equal(readFileSync(join(folder, 'raced'), 'utf8')[0], 'b')
  })
}

test('files that are begun are each what their piece was, which the caller uses again', async (t) => {
  const folder = tempFolder(t)
  const writer = createWorkFileWriter(join(folder, 'tmp'))
  const sizes = [0, 1_000, 256 << 10, 400_000, 1 << 20, (1 << 20) + 1, 300_001, 500_000, 700_000]
  const piece = new Uint8Array(2 << 20)
  const begun: Promise<unknown>[] = []
  for (const [i, size] of sizes.entries()) {
    await writer.room()
    piece.set(seededBytes(i, size))
    const path = join(folder, `${i}`)
    begun.push(
      writer.begin(path, piece.subarray(0, size), i % 2 === 1).then((facts) => {
        const { ino, mtimeNs, mode } = statSync(path, { bigint: true })
        assert.deepEqual([facts?.size, facts?.ino, facts?.mtimeNs], [size, ino, mtimeNs])
        assert.equal((mode & 0o100n) !== 0n, i % 2 === 1)
      }),
    )
    piece.fill(0)
  }
  await Promise.all(begun)
  for (const [i, size] of sizes.entries()) {
    assert.ok(readFileSync(join(folder, `${i}`)).equals(seededBytes(i, size)), `${size}`)
  }
  assert.deepEqual(readdirSync(join(folder, 'tmp')), [])
})

test('a piece in the memory of a file is written from there, and memory comes round', async (t) => {
  const folder = tempFolder(t)
  const writer = createWorkFileWriter(join(folder, 'tmp'))
  const seen = new Set<Uint8Array>()
  const { write } = fs
  const writtenFrom = new Set<ArrayBufferLike>()
  type Told = (error: Error | null, written: number) => void
  type Args = [Uint8Array, number, number, number, Told]
  t.mock.method(fs, 'write', (fd: number, ...args: Args) => {
    writtenFrom.add(args[0].buffer)
    write(fd, ...args)
  })
  syncBuiltinESMExports()
  t.after(() => {
    t.mock.restoreAll()
    syncBuiltinESMExports()
  })
  const sizes = [300_000, 256 << 10, 1 << 20, 1_000, 400_001, 700_000, 300_000, 262_145, 900_000]
  const begun: Promise<unknown>[] = []
  for (let round = 0; round < 3; round++) {
    for (const [i, size] of sizes.entries()) {
      await writer.room()
      const held = takeFileMemory()
      assert.equal(held.length, FILE_MEMORY_BYTES)
      assert.equal(held.byteOffset % FILE_AT, 0)
      seen.add(held)
      const piece = held.subarray(FILE_AT, FILE_AT + size)
      piece.set(seededBytes(round * 100 + i, size))
      begun.push(writer.begin(join(folder, `${round}-${i}`), piece, false, held))
    }
  }
  await Promise.all(begun)
  assert.ok(seen.size <= 6, `${seen.size} pieces of memory`)
  const own = new Set([...seen].map(({ buffer }) => buffer))
  assert.ok(writtenFrom.size > 0 && [...writtenFrom].every((buffer) => own.has(buffer)))
  for (let round = 0; round < 3; round++) {
    for (const [i, size] of sizes.entries()) {
      const written = readFileSync(join(folder, `${round}-${i}`))
      assert.ok(written.equals(seededBytes(round * 100 + i, size)), `${round} ${size}`)
    }
  }
})

test('at most five files are on their way; one that fails is told and leaves nothing', async (t) => {
  const folder = tempFolder(t)
  const writer = createWorkFileWriter(join(folder, 'tmp'))
  const { write } = fs
  let writing = 0
  let most = 0
  type Told = (error: Error | null, written: number) => void
  type Args = [Uint8Array, number, number, number, Told]
  t.mock.method(fs, 'write', (fd: number, ...[bytes, from, length, position, told]: Args) => {
    most = Math.max(most, ++writing)
    write(fd, bytes, from, length, position, (error, written) => {
      setTimeout(() => {
        writing--
        const full = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
        told(bytes[from] === 7 ? full : error, written)
      }, 10)
    })
  })
  syncBuiltinESMExports()
  t.after(() => {
    t.mock.restoreAll()
    syncBuiltinESMExports()
  })
  const begun: Promise<unknown>[] = []
  for (let i = 0; i < 12; i++) {
    await writer.room()
    const file = writer.begin(join(folder, `${i}`), new Uint8Array(300_000).fill(i), false)
    begun.push(
      file.then(
        () => 'written',
        (error: unknown) => isCxvError(error, 'NO_SPACE'),
      ),
    )
  }
  const told = await Promise.all(begun)
  assert.equal(most, 5)
  assert.deepEqual(told, [
    ...Array<string>(7).fill('written'),
    true,
    ...Array<string>(4).fill('written'),
  ])
  assert.ok(!existsSync(join(folder, '7')))
  assert.deepEqual(readdirSync(join(folder, 'tmp')), [])
})
