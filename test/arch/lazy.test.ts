import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test, type TestContext } from 'node:test'
import { isRecord, parseJson } from '../../src/base/index.ts'
import { tempFolder } from '../helpers/temp.ts'

/** Small, and what reads every command line. */
const LIGHT = new Set(['yargs'])

const dataUrl = (source: string): string => `data:text/javascript,${encodeURIComponent(source)}`

/** Loaded before cxv: writes down what is imported (a hook on the loader's own thread) and required. */
const RECORDER = dataUrl(`
  import { appendFileSync } from 'node:fs'
  import Module, { register } from 'node:module'
  const file = process.env.RECORD_FILE
  const load = Module._load
  Module._load = function (request, ...rest) {
    appendFileSync(file, request + '\\n')
    return load.call(this, request, ...rest)
  }
  register(${JSON.stringify(
    dataUrl(`
      import { appendFileSync } from 'node:fs'
      export async function resolve(specifier, context, next) {
        appendFileSync(process.env.RECORD_FILE, specifier + '\\n')
        return next(specifier, context)
      }
    `),
  )})
`)

function heavyPackages(): readonly string[] {
  const { dependencies } = parseJson(readFileSync('package.json', 'utf8')) as Record<
    string,
    unknown
  >
  assert.ok(isRecord(dependencies))
  return Object.keys(dependencies).filter((name) => !LIGHT.has(name))
}

function loadedBy(t: TestContext, ...args: readonly string[]): readonly string[] {
  const folder = tempFolder(t, 'lazy')
  const record = join(folder, 'modules')
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--import', RECORDER, resolve('bin/cxv.js'), '-C', folder, ...args],
    { encoding: 'utf8', env: { ...process.env, RECORD_FILE: record } },
  )
  assert.equal(status, 0, stderr)
  const names = readFileSync(record, 'utf8').split('\n')
  return heavyPackages().filter((name) => names.some((n) => n === name || n.startsWith(`${name}/`)))
}

test('cxv --version and --help load no package but the parser of arguments', (t) => {
  assert.deepEqual(loadedBy(t, '--version'), [])
  assert.deepEqual(loadedBy(t, '--help'), [])
  assert.notDeepEqual(loadedBy(t, 'init'), [], 'the recorder sees what is loaded')
})
