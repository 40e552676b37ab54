import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import fs, { existsSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { tempFolder } from '../../test/helpers/temp.ts'
import { closeFile, createFrom, createUncached } from './raw-files.ts'

const BLOCK = 4_096
const STAGING = 4 << 20
const ways = { createFrom, createUncached }

const ALL = randomBytes(3 * STAGING)
const firstBytes = (length: number): Uint8Array => ALL.subarray(0, length)

for (const [name, create] of Object.entries(ways)) {
  test(`${name}: a file is its pieces, whatever their lengths`, async (t) => {
    const folder = tempFolder(t)
    let n = 0
    const check = (lengths: readonly number[]): void => {
      const bytes = firstBytes(lengths.reduce((sum, length) => sum + length, 0))
      let from = 0
      const pieces = lengths.map((length) => bytes.subarray(from, (from += length)))
      const path = join(folder, `${n++}`)
      closeFile(create(path, 0o640, pieces))
      assert.ok(readFileSync(path).equals(bytes), lengths.join())
      assert.equal(statSync(path).mode & 0o777, 0o640)
    }
    const edges = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, STAGING - 1, STAGING, STAGING + 1]
    for (const edge of edges) {
      check([edge])
      check([edge, 5])
      check([5, edge])
    }
    check([STAGING, STAGING, 1])
    check([])
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(3 * BLOCK), { maxLength: 8 }), (lengths) =>
        Promise.resolve(check(lengths)),
      ),
      { numRuns: 50 },
    )
  })

  test(`${name}: a name that is taken is refused, and a link not followed`, (t) => {
    const folder = tempFolder(t)
    const path = join(folder, 'a')
    closeFile(create(path, 0o666, [firstBytes(10)]))
    assert.throws(() => create(path, 0o666, [firstBytes(20)]), { code: 'EEXIST' })
    assert.equal(statSync(path).size, 10)
    symlinkSync(join(folder, 'b'), join(folder, 'link'))
    assert.throws(() => create(join(folder, 'link'), 0o666, [firstBytes(1)]), { code: 'EEXIST' })
    assert.ok(!existsSync(join(folder, 'b')))
  })

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
  const { openSync, writeSync } = fs
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

for (const [when, refusal] of Object.entries(refusals)) {
  test(`direct I/O that is refused ${when} is gone on with through the cache`, { skip }, (t) => {
    const folder = tempFolder(t)
    refusing(t, refusal)
    for (const mode of [0o444, 0o755]) {
      const path = join(folder, `${mode}`)
      const bytes = firstBytes(2 * STAGING + 1234)
      closeFile(createUncached(path, mode, [bytes.subarray(0, 5), bytes.subarray(5)]))
      assert.ok(readFileSync(path).equals(bytes))
      assert.equal(statSync(path).mode & 0o777, mode)
    }
  })
}
