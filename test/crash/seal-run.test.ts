import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isRecord, parseJson } from '../../src/base/index.ts'
import { bootId, hostname } from '../../src/io/index.ts'
import { at, CXV, list, machine, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'
import { makeTrainable } from '../helpers/tiny-run.ts'

test('a run killed while it waits to be sealed is resumed to the same weights and sealed', async (t) => {
  const work = join(tempFolder(t, 'seal-run'), 'work')
  const ada = machine(join(work, '..', 'home'))
  await makeTrainable(ada, work)
  const weights = text(await ada.json(work, 'run'), 'model')

  // This process holds the write lock, so the run comes as far as its seal and no further.
  const lock = join(work, '.cxv', 'lock')
  const holder = { pid: process.pid, host: hostname(), boot: bootId(), what: 'a test', since: 0 }
  writeFileSync(lock, JSON.stringify(holder))
  const child = spawn(process.execPath, [CXV, 'run'], { cwd: work, env: ada.env })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    said += part
    if (said.includes('seal run')) child.kill('SIGKILL')
  })
  const signal = await new Promise((resolve) => child.on('close', (_, name) => resolve(name)))
  assert.equal(signal, 'SIGKILL', said)
  rmSync(lock)

  const [run] = list(await ada.json(work, 'runs'), 'runs')
  const id = text(run, 'run')
  assert.equal(text(run, 'status'), 'interrupted')
  const resumed = await ada.json(work, 'run', '--resume', id)
  assert.equal(text(resumed, 'model'), weights)
  assert.equal(text(list(await ada.json(work, 'runs'), 'runs')[0], 'status'), 'finished')
  assert.equal((await ada.fails(work, 'run', '--resume', id)).code, 'RUN_MISMATCH')
})

test('a run whose folder says finished and which was never sealed can be resumed', async (t) => {
  const work = join(tempFolder(t, 'unsealed-run'), 'work')
  const ada = machine(join(work, '..', 'home'))
  await makeTrainable(ada, work)
  const done = await ada.json(work, 'run')
  const id = text(done, 'run')
  rmSync(join(work, '.cxv', 'git', 'refs', 'runs', id))

  const resumed = await ada.json(work, 'run', '--resume', id)
  assert.equal(text(resumed, 'model'), text(done, 'model'))
  assert.deepEqual(at(resumed, 'metrics'), at(done, 'metrics'))
  const record = parseJson(readFileSync(join(work, '.cxv', 'runs', id, 'run.json'), 'utf8'))
  assert.ok(isRecord(record) && record['status'] === 'finished')
  assert.equal((await ada.fails(work, 'run', '--resume', id)).code, 'RUN_MISMATCH')
})
