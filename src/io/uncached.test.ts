import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import fs, { existsSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { tempFolder } from '../../test/helpers/temp.ts'
import { closeFile, createFrom } from './raw-files.ts'
import { alignedBytes, createUncached, createUncachedFile } from './uncached.ts'

const BLOCK = 4_096
const STAGING = 4 << 20

/** Of these pieces, block by block of aligned memory, as the writer of packs does. */
async function createBehind(
  path: string,
  mode: number,
  pieces: Iterable<Uint8Array>,
): Promise<number> {
  const all = Buffer.concat([...pieces])
  const file = createUncachedFile(path, mode)
  for (let at = 0; at < all.length; at += STAGING) {
    const part = all.subarray(at, at + STAGING)
    const memory = alignedBytes(STAGING)
    memory.set(part)
    await file.write(memory.subarray(0, part.length), at)
  }
  return file.fd()
}

const ways = { createFrom, createUncached, createBehind }

const ALL = randomBytes(3 * STAGING)
const firstBytes = (length: number): Uint8Array => ALL.subarray(0, length)

for (const [name, create] of Object.entries(ways)) {
  test(`${name}: a file is its pieces, whatever their lengths`, async (t) => {
    const folder = tempFolder(t)
    let n = 0
    const check = async (lengths: readonly number[]): Promise<void> => {
      const bytes = firstBytes(lengths.reduce((sum, length) => sum + length, 0))
      let from = 0
      const pieces = lengths.map((length) => bytes.subarray(from, (from += length)))
      const path = join(folder, `${n++}`)
      closeFile(await create(path, 0o640, pieces))
      assert.ok(readFileSync(path).equals(bytes), lengths.join())
      assert.equal(statSync(path).mode & 0o777, 0o640)
    }
    const edges = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, STAGING - 1, STAGING, STAGING + 1]
    for (const edge of edges) {
      await check([edge])
      await check([edge, 5])
      await check([5, edge])
    }
    await check([STAGING, STAGING, 1])
    await check([])
    await fc.assert(fc.asyncProperty(fc.array(fc.nat(3 * BLOCK), { maxLength: 8 }), check), {
      numRuns: 50,
    })
  })

  test(`${name}: a name that is taken is refused, and a link not followed`, async (t) => {
    const folder = tempFolder(t)
    const path = join(folder, 'a')
    const link = join(folder, 'link')
    closeFile(await create(path, 0o666, [firstBytes(10)]))
    await assert.rejects(async () => create(path, 0o666, [firstBytes(20)]), { code: 'EEXIST' })
    assert.equal(statSync(path).size, 10)
    symlinkSync(join(folder, 'b'), link)
    await assert.rejects(async () => create(link, 0o666, [firstBytes(1)]), { code: 'EEXIST' })
    assert.ok(!existsSync(join(folder, 'b')))
  })
}

for (const [name, create] of Object.entries({ createFrom, createUncached })) {
  test(`${name}: where a later piece fails, no file is left`, (t) => {
    const path = join(tempFolder(t), 'a')
    function* pieces(): Generator<Uint8Array> {
      yield firstBytes(STAGING)
      yield firstBytes(10)
      throw new Error('no more')
    }
    assert.throws(() => create(path, 0o666, pieces()), /no more/)
    assert.ok(!existsSync(path))
  })
}

/** Direct I/O as a file system refuses it that makes the file first, or at the nth write. */
function refusing(t: TestContext, { atOpen, atWrite }: { atOpen?: true; atWrite?: number }): void {
  const { openSync, writeSync, write } = fs
  const direct = new Set<number>()
  let writes = 0
  const refused = (): Error => Object.assign(new Error('EINVAL'), { code: 'EINVAL' })
  t.mock.method(fs, 'openSync', (path: string, flags: string | number, mode?: number) => {
    const fd = openSync(path, flags, mode)
    if (typeof flags !== 'number' || (flags & fs.constants.O_DIRECT) === 0) return fd
    if (atOpen === true) {
      fs.closeSync(fd)
      throw refused()
    }
    direct.add(fd)
    return fd
  })
  t.mock.method(fs, 'writeSync', (fd: number, ...rest: [Uint8Array, number, number, number]) => {
    if (direct.has(fd) && writes++ === atWrite) {
      // Some of it may have got there.
      writeSync(fd, rest[0], rest[1], BLOCK, rest[3])
      throw refused()
    }
    return writeSync(fd, ...rest)
  })
  type Told = (error: Error | null, written: number) => void
  type Args = [Uint8Array, number, number, number, Told]
  t.mock.method(fs, 'write', (fd: number, ...rest: Args) => {
    const [bytes, from, , position, told] = rest
    if (!direct.has(fd) || writes++ !== atWrite) return write(fd, ...rest)
    writeSync(fd, bytes, from, BLOCK, position)
    return void setImmediate(() => told(refused(), 0))
  })
  syncBuiltinESMExports()
  t.after(() => {
    t.mock.restoreAll()
    syncBuiltinESMExports()
  })
}

const skip = fs.constants.O_DIRECT === undefined ? 'no direct I/O on this system' : false
const refusals: Readonly<Record<string, Parameters<typeof refusing>[1]>> = {
  'at opening': { atOpen: true },
  'at the first write': { atWrite: 0 },
  'at the second': { atWrite: 1 },
  'at the last': { atWrite: 2 },
}

for (const [name, create] of Object.entries({ createUncached, createBehind })) {
  for (const [when, refusal] of Object.entries(refusals)) {
    const what = `${name}: direct I/O that is refused ${when} is gone on with through the cache`
    test(what, { skip }, async (t) => {
      const folder = tempFolder(t)
      for (const mode of [0o444, 0o755]) {
        refusing(t, refusal)
        const path = join(folder, `${mode}`)
        const bytes = firstBytes(2 * STAGING + 1234)
        closeFile(await create(path, mode, [bytes.subarray(0, 5), bytes.subarray(5)]))
        assert.ok(readFileSync(path).equals(bytes))
        assert.equal(statSync(path).mode & 0o777, mode)
        t.mock.restoreAll()
        syncBuiltinESMExports()
      }
    })
  }
}

test(
  'where going on through the cache fails too, each descriptor is closed once',
  { skip },
  (t) => {
    const folder = tempFolder(t)
    refusing(t, { atWrite: 0 })
    const open = new Set<number>()
    const { openSync, closeSync } = fs
    t.mock.method(fs, 'openSync', (...args: Parameters<typeof openSync>) => {
      const fd = openSync(...args)
      open.add(fd)
      return fd
    })
    t.mock.method(fs, 'closeSync', (fd: number) => {
      assert.ok(open.delete(fd), 'closed twice')
      closeSync(fd)
    })
    t.mock.method(fs, 'ftruncateSync', () => {
      throw Object.assign(new Error('EIO'), { code: 'EIO' })
    })
    syncBuiltinESMExports()
    const path = join(folder, 'a')
    assert.throws(() => createUncached(path, 0o444, [firstBytes(STAGING)]), { code: 'EIO' })
    assert.deepEqual([...open], [])
    assert.ok(!existsSync(path))
  },
)
