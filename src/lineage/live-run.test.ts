import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { testContext } from '../../test/helpers/context.ts'
import { tempFolder } from '../../test/helpers/temp.ts'
import { isRecord, parseJsonBytes, utf8 } from '../base/index.ts'
import { decodeRunRecord } from '../format/index.ts'
import { bootId, processStart } from '../io/index.ts'
import { newRunId, openLiveRun, readLiveRun } from './live-run.ts'

test('a run reads as running only while the very process that began it is alive', async (t) => {
  const ctx = testContext()
  const folder = tempFolder(t, 'live-run')
  const id = newRunId(ctx)
  const ids = { id, commit: '0'.repeat(40), sampleList: '0'.repeat(64) }
  const record = decodeRunRecord(utf8(JSON.stringify({ format: 1, status: 'running', ...ids })))
  const live = openLiveRun(ctx, folder, record)
  t.after(() => live.close())
  const status = async (): Promise<string | undefined> =>
    (await readLiveRun(folder, id, ctx.now()))?.status
  assert.equal(await status(), 'running')

  const beat = parseJsonBytes((await live.read('heartbeat.json')) ?? new Uint8Array())
  assert.ok(isRecord(beat))
  const cases = [
    [{}, 'running'],
    [{ start: undefined }, 'running'],
    [{ boot: `${bootId()}, an earlier one` }, 'interrupted'],
    // The number went to another process, which started later.
    [{ start: '1' }, 'interrupted'],
  ] as const
  for (const [change, expected] of cases) {
    live.write('heartbeat.json', utf8(JSON.stringify({ ...beat, ...change })))
    assert.equal(await status(), expected, `${join(folder, id)} with ${JSON.stringify(change)}`)
  }
})

test(
  'a process is told from others by when it started',
  { skip: process.platform !== 'linux' },
  () => {
    assert.match(processStart(process.pid) ?? '', /^\d+$/)
    assert.notEqual(processStart(process.pid), processStart(1))
    assert.equal(processStart(2 ** 30), undefined)
  },
)
