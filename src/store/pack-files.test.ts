import assert from 'node:assert/strict'
import { existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isCxvError, packId } from '../base/index.ts'
import { tempFolder } from '../../test/helpers/temp.ts'
import { createPackFiles } from './pack-files.ts'
import { packFolder, packPath } from './paths.ts'

/** Reading its first bytes is an I/O error on Linux: nothing is mapped there. */
const UNREADABLE = '/proc/self/mem'

test('bytes that the disk cannot read are damage', async (t) => {
  if (!existsSync(UNREADABLE)) {
    t.skip(`there is no ${UNREADABLE}`)
    return
  }
  const packs = join(tempFolder(t), 'packs')
  const id = packId('ab'.repeat(32))
  mkdirSync(packFolder(packs, id), { recursive: true })
  symlinkSync(UNREADABLE, packPath(packs, id))
  const files = createPackFiles(packs)
  t.after(() => files.close())
  const isDamage = (error: unknown): boolean => isCxvError(error, 'CHUNK_CORRUPT')
  assert.throws(() => files.readSync(id, 0, new Uint8Array(10)), isDamage)
  await assert.rejects(files.read(id, 0, 10), isDamage)
})
