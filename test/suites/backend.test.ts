import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFolder, withRetry } from '../../src/backend/index.ts'
import type { Backend } from '../../src/backend/types.ts'
import { createRandom } from '../../src/base/index.ts'
import { faulty, memoryBackend, pipedBackend } from '../helpers/backends.ts'
import { testContext } from '../helpers/context.ts'
import { backendSuite } from './backend.suite.ts'

const nothing = (): Promise<void> => Promise.resolve()

backendSuite({
  test,
  name: 'memory',
  make() {
    const objects = new Map<string, Uint8Array>()
    return Promise.resolve({
      backend: memoryBackend(objects),
      other: memoryBackend(objects),
      dispose: nothing,
    })
  },
})

async function inFolder(
  open: (folder: string) => Promise<Backend>,
): Promise<{ backend: Backend; other: Backend; dispose(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'cxv-backend-'))
  const root = join(folder, 'not', 'yet', 'there')
  const backend = await open(root)
  const other = await open(root)
  return {
    backend,
    other,
    async dispose() {
      await backend.close()
      await other.close()
      await rm(folder, { recursive: true })
    },
  }
}

backendSuite({
  test,
  name: 'file',
  make: () => inFolder((root) => Promise.resolve(openFolder(testContext(), root))),
})

backendSuite({
  test,
  name: 'stdio',
  make: () => inFolder((root) => pipedBackend(testContext(), root)),
})

// Requests that never arrive: with retries no caller may notice. (Answers that are lost change what a
// conditional put reports; sync's tests look at those.)
backendSuite({
  test,
  name: 'retry over faulty memory',
  make() {
    const objects = new Map<string, Uint8Array>()
    const ctx = testContext()
    const random = createRandom(7)
    const make = (): Backend =>
      withRetry(
        ctx,
        faulty(memoryBackend(objects), (method) =>
          random.next() < 0.2 ? (method === 'list' ? 'after' : 'before') : undefined,
        ),
        { attempts: 12, firstWaitMs: 0 },
      )
    return Promise.resolve({ backend: make(), other: make(), dispose: nothing })
  },
})
