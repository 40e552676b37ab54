import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { makePhantoms } from '../../fixtures/phantom.ts'
import { isRecord, parseJson } from '../../src/base/index.ts'
import { findEngines } from '../../src/commands/engine-find.ts'
import { checkParts } from '../../src/commands/engine-parts.ts'
import { runProgram } from '../../src/io/index.ts'
import { at, machine, number, ROOT, startProgram, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'

/** Enough epochs on 64 px phantoms that any engine that computes rightly is near 1. */
const TRAIN = `version: 1
task: binary
data:
  table: labels
  label: { column: Finding Labels }
  group: Patient ID
label_policy: { positive: [Effusion] }
image: { size: 64 }
train: { epochs: 6, batch: 16 }
early_stop: { monitor: val/auroc_macro, patience: 6 }
evaluate: { bootstrap: 100 }
seed: 7
`

const cxv = (env: Readonly<Record<string, string>>, ...args: readonly string[]) =>
  runProgram(process.execPath, ['bin/cxv.js', ...args], { env })

async function reachable(): Promise<string | undefined> {
  const { parts, tools } = await checkParts(process.env, false)
  const missing = parts.filter(({ ok }) => !ok).map(({ name }) => name)
  if (missing.length > 0) return `this machine lacks ${missing.join(', ')}`
  const ask = ['-m', 'pip', 'download', '--no-deps', '--no-cache-dir', '--quiet', '--retries=0']
  const dir = mkdtempSync(join(tmpdir(), 'cxv-pip-'))
  try {
    const { status } = await runProgram(
      tools.python ?? 'python3',
      [...ask, '--timeout=10', `--dest=${dir}`, 'six'],
      { signal: AbortSignal.timeout(60_000) },
    )
    return status === 0 ? undefined : 'PyPI cannot be reached'
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

test('cxv engine add tensorflow, from nothing: it trains, is listed, and can be removed', async (t) => {
  const why = await reachable()
  if (why !== undefined) return t.skip(why)
  const dir = mkdtempSync(join(tmpdir(), 'cxv-engine-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const env = { CXV_ENGINES_DIR: dir }

  const added = await cxv(env, 'engine', 'add', 'tensorflow', '--json')
  assert.equal(added.status, 0, added.stderr)
  const result = parseJson(added.stdout)
  assert.ok(isRecord(result) && isRecord(result['check']) && isRecord(result['record']))
  assert.ok(Number(result['check']['lastLoss']) < Number(result['check']['firstLoss']) / 2)
  const [engine] = findEngines(env)
  assert.equal(engine?.module, result['module'])
  assert.match(added.stderr, /compiling the binding|stock/)

  const doctor = await cxv(env, 'doctor', '--train', '--json')
  const findings = parseJson(doctor.stdout)
  assert.ok(isRecord(findings) && Array.isArray(findings['findings']))
  const line: unknown = findings['findings'].find(
    (f: unknown) => isRecord(f) && f['name'] === 'tensorflow',
  )
  assert.ok(isRecord(line) && line['state'] === 'ok', JSON.stringify(line))

  await t.test('the tests of engines and of training pass on it', async () => {
    await passesEngineTests(String(result['module']))
  })
  await t.test('cxv run gives what the wasm engine gives, from the same pin', async (t) => {
    await comparesToWasm(t, env)
  })

  const removed = await cxv(env, 'engine', 'remove', 'tensorflow')
  assert.equal(removed.status, 0, removed.stderr)
  assert.deepEqual(
    readdirSync(dir).filter((name) => !name.endsWith('.log')),
    [],
  )
})

/** The tests beside the code that skip themselves where the engine is not set up. */
async function passesEngineTests(module: string): Promise<void> {
  // With node's own variable the child would take itself for a part of this run and print no report.
  const { NODE_TEST_CONTEXT: _own, ...inherited } = process.env
  const files = ['engine', 'loop'].map((name) => join(ROOT, 'dist/src/train', `${name}.test.js`))
  const { status, stdout, stderr } = await startProgram(
    process.execPath,
    ['--test', '--test-reporter=tap', '--test-name-pattern=/^tensorflow: /', ...files],
    { cwd: ROOT, env: { ...inherited, CXV_TEST_TENSORFLOW: module } },
  ).ended
  assert.equal(status, 0, `${stdout}\n${stderr}`)
  const passed = stdout.match(/^ *ok \d+ - tensorflow: .*$/gm) ?? []
  // Five of the engine suite, two of the loop.
  assert.ok(passed.length >= 7, stdout)
  for (const line of passed) assert.doesNotMatch(line, /# SKIP/)
}

async function comparesToWasm(
  t: TestContext,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const top = tempFolder(t, 'engines')
  const ada = machine(join(top, 'home'), 'Ada Tester', env)
  const repo = join(top, 'xrays')
  await makePhantoms({ out: repo, patients: 120, size: 64, seed: 7, labels: ['Effusion'] })
  writeFileSync(join(repo, 'train.yaml'), TRAIN)
  await ada.ok(repo, 'init')
  await ada.ok(repo, 'add', '.')
  await ada.ok(repo, 'table', 'add', 'labels', 'Data_Entry.csv', '--key', 'Image Index')
  await ada.ok(repo, 'commit', '-m', 'phantoms')

  const records: unknown[] = []
  for (const engine of ['wasm', 'tensorflow']) {
    const run = await ada.json(repo, 'run', 'train.yaml', '--engine', engine)
    assert.equal(text(run, 'engine', 'name'), engine)
    records.push(at(await ada.json(repo, 'show', text(run, 'run')), 'record'))
  }
  const [wasm, tensorflow] = records
  for (const same of ['commit', 'sampleList']) {
    assert.equal(text(tensorflow, same), text(wasm, same), same)
  }
  const [a = 0, b = 0] = records.map((run) => number(run, 'metrics', 'test', 'aurocMacro'))
  t.diagnostic(`test AUROC: wasm ${a.toFixed(4)}, tensorflow ${b.toFixed(4)}`)
  assert.ok(a >= 0.95, `wasm: ${a}`)
  assert.ok(Math.abs(a - b) <= 0.02, `wasm ${a}, tensorflow ${b}`)
}
