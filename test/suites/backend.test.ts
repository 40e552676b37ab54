import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFolder, withRetry } from '../../src/backend/index.ts'
import type { Backend } from '../../src/backend/types.ts'
import { createRandom, CxvError } from '../../src/base/index.ts'
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

void test('stdio: a body is heard of while it passes, not only when it is there', async () => {
  const { backend, dispose } = await inFolder((root) => pipedBackend(testContext(), root))
  try {
    const body = new Uint8Array(4 << 20).fill(7)
    const sent: number[] = []
    await backend.put('k', body, { onBytes: (bytes) => sent.push(bytes) })
    assert.ok(sent.length > 4, `${sent.length}`)
    const arrived: number[] = []
    await backend.get('k', undefined, { onBytes: (bytes) => arrived.push(bytes) })
    assert.ok(arrived.length > 4, `${arrived.length}`)
  } finally {
    await dispose()
  }
})

void test('a request that is made again tells only of bytes that no attempt before told of', async () => {
  let attempts = 0
  const inner: Backend = {
    ...memoryBackend(),
    put(key, body, options) {
      options?.onBytes?.(attempts === 0 ? 60 : 30)
      if (attempts++ === 0) throw new CxvError('REMOTE_FAILED', 'the line broke')
      options?.onBytes?.(70)
      return Promise.resolve({ key, size: body.length, etag: 'e' })
    },
  }
  const told: number[] = []
  const backend = withRetry(testContext(), inner, { firstWaitMs: 0 })
  await backend.put('k', new Uint8Array(100), { onBytes: (bytes) => told.push(bytes) })
  assert.deepEqual(told, [60, 40])
})

// Not even root makes folders there.
const unwritable = '/sys/cxv-remote'
const skip = existsSync('/sys/kernel') ? false : 'no /sys on this system'

test(
  'a folder that may not be written is REMOTE_READ_ONLY, here and at the other end of a pipe',
  { skip },
  async () => {
    const ctx = testContext()
    const piped = await pipedBackend(ctx, unwritable)
    for (const backend of [openFolder(ctx, unwritable), piped]) {
      await assert.rejects(backend.put('a', new Uint8Array(1), { ifMatch: null }), {
        code: 'REMOTE_READ_ONLY',
      })
      assert.equal(await backend.get('a'), undefined)
      await backend.close()
    }
  },
)
