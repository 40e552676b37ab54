import assert from 'node:assert/strict'
import fs, { readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempFolder } from '../../test/helpers/temp.ts'
import { createWorkFileWriter } from './work-files.ts'

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
