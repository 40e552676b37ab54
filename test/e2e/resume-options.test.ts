import assert from 'node:assert/strict'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { list, type Machine, machine, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'
import { makeTrainable } from '../helpers/tiny-run.ts'

const top = tempFolder({ after }, 'resume-options')
const work = join(top, 'work')
let ada: Machine
let run: string

/** A run that reads interrupted: all of it but its end. */
before(async () => {
  ada = machine(join(top, 'home'))
  await makeTrainable(ada, work)
  const file = join(work, 'train.yaml')
  writeFileSync(file, `${readFileSync(file, 'utf8')}augment: { apply_to: all }\n`)
  await ada.ok(work, 'add', 'train.yaml')
  await ada.ok(work, 'commit', '-m', 'augment')
  run = text(await ada.json(work, 'run'), 'run')
  rmSync(join(work, '.cxv', 'git', 'refs', 'runs', run))
  const record = join(work, '.cxv', 'runs', run, 'run.json')
  writeFileSync(record, readFileSync(record, 'utf8').replace('"finished"', '"interrupted"'))
})

const resume = (...args: readonly string[]): readonly string[] => ['run', '--resume', run, ...args]

test('options that mean nothing to a resumed run are refused', async () => {
  for (const option of ['--dry-run', '--allow-dirty']) {
    const refused = await ada.fails(work, ...resume(option))
    assert.equal(refused.code, 'USAGE')
    assert.match(refused.message, new RegExp(option))
  }
})

test('a resumed run refuses another configuration in whatever way it is given, and names the key', async () => {
  const changed = (change: (yaml: string) => string): string => {
    const yaml = readFileSync(join(work, '.cxv', 'runs', run, 'train.yaml'), 'utf8')
    const path = join(top, 'changed.yaml')
    writeFileSync(path, change(yaml))
    assert.notEqual(readFileSync(path, 'utf8'), yaml)
    return path
  }
  const cases = [
    ['train.epochs', ['--set', 'train.epochs=3']],
    ['name', ['--name', 'other']],
    ['engine', ['--engine', 'cpu']],
    ['augment.ops', [changed((yaml) => yaml.replace(/\n +- .*op: zoom.*/, ''))]],
  ] as const
  for (const [key, args] of cases) {
    const refused = await ada.fails(work, ...resume(...args))
    assert.equal(refused.code, 'RUN_MISMATCH', args.join(' '))
    assert.ok(refused.message.includes(` ${key} `), refused.message)
  }
  assert.equal(text(list(await ada.json(work, 'runs'), 'runs')[0], 'status'), 'interrupted')
})

test('a resumed run goes on when the same is asked for', async () => {
  const same = resume('train.yaml', '--engine', 'wasm', '--set', 'train.epochs=1')
  assert.equal(text(await ada.json(work, ...same), 'status'), 'finished')
})
