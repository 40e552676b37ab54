import assert from 'node:assert/strict'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isRecord, parseJson } from '../../src/base/index.ts'
import { enginesFolder, findEngines } from '../../src/commands/engine-find.ts'
import { at, CXV, list, machine, number, startProgram, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'
import { makeTrainable } from '../helpers/tiny-run.ts'

/** Takes a finished run back to the end of its first epoch, as a kill would have left it. */
function stopAfterFirstEpoch(
  work: string,
  run: string,
  change: (record: Record<string, unknown>) => void = () => undefined,
): void {
  const folder = join(work, '.cxv', 'runs', run)
  rmSync(join(work, '.cxv', 'git', 'refs', 'runs', run))
  for (const name of readdirSync(join(folder, 'checkpoints')).sort().slice(1)) {
    rmSync(join(folder, 'checkpoints', name))
  }
  const record = parseJson(readFileSync(join(folder, 'run.json'), 'utf8'))
  assert.ok(isRecord(record))
  const stopped = { ...record, status: 'interrupted' }
  change(stopped)
  writeFileSync(join(folder, 'run.json'), JSON.stringify(stopped))
}

test('resumed on another version of its engine, a run says so and its record keeps it', async (t) => {
  const work = join(tempFolder(t, 'resume-version'), 'work')
  const ada = machine(join(work, '..', 'home'))
  await makeTrainable(ada, work)
  const run = text(await ada.json(work, 'run', '--set', 'train.epochs=2'), 'run')
  stopAfterFirstEpoch(work, run)
  const same = await ada.cxv(work, 'run', '--resume', run, '--json')
  assert.doesNotMatch(same.stderr, /RUN_MISMATCH/)

  stopAfterFirstEpoch(work, run, (record) => {
    record['engine'] = { name: 'wasm', version: 'tfjs 1.0.0 wasm', reason: '', threads: 1 }
  })
  const other = await ada.cxv(work, 'run', '--resume', run, '--json')
  assert.equal(other.status, 0, other.stderr)
  assert.match(other.stderr, /"RUN_MISMATCH".*tfjs 1\.0\.0 wasm.*goes on with tfjs \d/)
  const [first, second] = list(await ada.json(work, 'show', run), 'record', 'resumes')
  assert.equal(at(first, 'engine'), undefined)
  assert.match(text(second, 'engine'), /^tfjs \d.* wasm.*, 1 thread$/)
})

test('tensorflow: begun on all cores and resumed on one, a run ends the same to the byte', async (t) => {
  if (findEngines(process.env).length === 0) return t.skip('the tensorflow engine is not set up')
  const cores = availableParallelism()
  const one = (args: readonly string[], options: Parameters<typeof startProgram>[2]) =>
    startProgram('taskset', ['-c', '0', process.execPath, CXV, ...args], options).ended
  if (cores < 2 || (await one(['--version'], {}).catch(() => undefined))?.status !== 0) {
    return t.skip('this machine has one core, or no taskset')
  }
  const work = join(tempFolder(t, 'resume-threads'), 'work')
  const ada = machine(join(work, '..', 'home'), 'Ada Tester', {
    CXV_ENGINES_DIR: enginesFolder(process.env),
  })
  await makeTrainable(ada, work)
  const sets = ['engine=tensorflow', 'train.epochs=2', 'image.size=64'].flatMap((s) => ['--set', s])
  const whole = await ada.json(work, 'run', ...sets)
  const run = text(whole, 'run')
  assert.equal(number(whole, 'engine', 'threads'), cores)
  stopAfterFirstEpoch(work, run)
  const resumed = await one(['run', '--resume', run, '--json'], { cwd: work, env: ada.env })
  assert.equal(resumed.status, 0, resumed.stderr)
  assert.doesNotMatch(resumed.stderr, /RUN_MISMATCH/)
  assert.equal(text(parseJson(resumed.stdout), 'model'), text(whole, 'model'))
})
