import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { seededBytes } from '../helpers/seeded.ts'
import { tempFolder } from '../helpers/temp.ts'

const BIN = fileURLToPath(new URL('../../../bin/cxv.js', import.meta.url))
/**
 * KiB. Node.js wants 13 GB of addresses to begin with, the module that reckons XXH64 10 GB a thread, and each
 * aligned buffer 10 GB more.
 */
const ONE_THREAD = 25_000_000
const THREADS = 50_000_000

test('where addresses are few, as in a batch system, add, push and clone work all the same', (t) => {
  const top = tempFolder(t)
  const work = join(top, 'work')
  mkdirSync(work)
  const limited = (limit: number, cwd: string, ...args: readonly string[]): void => {
    const script = `ulimit -v ${limit} && exec "$0" "$@"`
    const run = spawnSync('bash', ['-c', script, process.execPath, BIN, ...args], {
      cwd,
      encoding: 'utf8',
      env: { ...process.env, CXV_AUTHOR_NAME: 'A', CXV_AUTHOR_EMAIL: 'a@example.org' },
    })
    assert.equal(run.status, 0, `${args.join(' ')}: ${run.stdout}${run.stderr}`)
  }
  const files = { 'a.csv': 10, 'b.png': 400_000, 'c.dcm': 9_000_000 }
  for (const [i, [name, size]] of Object.entries(files).entries()) {
    writeFileSync(join(work, name), seededBytes(i, size))
  }
  limited(ONE_THREAD, work, 'init')
  limited(ONE_THREAD, work, 'add', '.')
  limited(ONE_THREAD, work, 'commit', '-m', 'first')
  limited(ONE_THREAD, work, 'remote', 'add', 'origin', join(top, 'nas'))
  limited(ONE_THREAD, work, 'push')
  limited(THREADS, top, 'clone', join(top, 'nas'), join(top, 'linked'))
  limited(THREADS, top, 'clone', join(top, 'nas'), join(top, 'copied'), '--no-hardlinks')
  for (const clone of ['linked', 'copied']) {
    for (const [i, [name, size]] of Object.entries(files).entries()) {
      assert.ok(readFileSync(join(top, clone, name)).equals(seededBytes(i, size)), name)
    }
  }
})
