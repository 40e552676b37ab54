import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createHistory, openHistory } from '../../src/history/index.ts'
import type { History } from '../../src/history/types.ts'
import { historySuite } from './history.suite.ts'

const top = mkdtempSync(join(tmpdir(), 'cxv-history-'))
after(() => rmSync(top, { recursive: true, force: true }))

const folders = new Map<History, string>()

historySuite({
  test: (name, fn) => void test(name, fn),
  async make() {
    const folder = mkdtempSync(join(top, 'git-'))
    const history = await createHistory(folder, 'main')
    folders.set(history, folder)
    return history
  },
  reopen: (history) => openHistory(folders.get(history) ?? ''),
})
