import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CxvError } from '../base/index.ts'
import { firstFailure } from './failure.ts'

/** As `await using` throws when the body fails, and then closing fails too. */
async function bothFail(body: unknown, closing: unknown): Promise<unknown> {
  try {
    await using _held = { [Symbol.asyncDispose]: () => Promise.reject(closing as Error) }
    throw body
  } catch (error) {
    return error
  }
}

test('of a failure and a failure to close up, the first is said', async () => {
  const full = new CxvError('NO_SPACE', 'full')
  const locked = new CxvError('REPO_LOCKED', 'locked')
  const bug = new TypeError('a bug')
  assert.equal(firstFailure(await bothFail(full, locked)), full)
  assert.equal(firstFailure(await bothFail(full, bug)), full)
  assert.equal(firstFailure(await bothFail(bug, full)), full, 'a user can act on this one')
  assert.equal(firstFailure(await bothFail(bug, new Error('closing'))), bug)
  assert.equal(firstFailure(await bothFail(await bothFail(full, bug), locked)), full)
  assert.equal(firstFailure(bug), bug)
})
