import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createStore, openStore } from '../../src/store/index.ts'
import { testContext } from '../helpers/context.ts'
import { storeSuite } from './store.suite.ts'

storeSuite({
  test: (name, fn) => void test(name, fn),
  name: 'packs',
  async make() {
    const top = mkdtempSync(join(tmpdir(), 'cxv-store-'))
    const folder = join(top, '.cxv')
    const work = join(top, 'work')
    mkdirSync(folder)
    mkdirSync(work)
    await createStore(folder)
    let store = await openStore(testContext(), folder)
    return {
      store,
      folder: work,
      async reopen() {
        await store.close()
        store = await openStore(testContext(), folder)
        return store
      },
      async dispose() {
        await store.close()
        rmSync(top, { recursive: true })
      },
    }
  },
})
