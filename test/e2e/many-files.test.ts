import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { cxvOk } from '../helpers/cxv.ts'
import { tempFolder } from '../helpers/temp.ts'

/** More than have their size looked at before they are read. */
const FILES = 16_500
const BYTES = 12

test('adding very many new files counts each byte, once', async (t) => {
  const work = tempFolder(t)
  for (let i = 0; i < FILES; i++) {
    const folder = join(work, 'images', String(i >> 10))
    if (i % 1024 === 0) mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, `${i}.png`), `${i}`.padStart(BYTES, '.'))
  }
  await cxvOk(['init'], work)
  const add = async (): Promise<Record<string, unknown>> =>
    (await cxvOk(['add', 'images', '--json'], work)).json()
  const first = await add()
  assert.deepEqual(
    [first['files'], first['bytes'], first['staged'], first['newBytes']],
    [FILES, FILES * BYTES, FILES, FILES * BYTES],
  )
  const again = await add()
  assert.deepEqual(
    [again['files'], again['bytes'], again['staged'], again['newBytes']],
    [FILES, FILES * BYTES, 0, 0],
  )
})
