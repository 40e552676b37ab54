import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isRecord, parseJson } from '../../src/base/index.ts'
import { findEngines } from '../../src/commands/engine-find.ts'
import { checkParts } from '../../src/commands/engine-parts.ts'
import { runProgram } from '../../src/io/index.ts'

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

  const removed = await cxv(env, 'engine', 'remove', 'tensorflow')
  assert.equal(removed.status, 0, removed.stderr)
  assert.deepEqual(
    readdirSync(dir).filter((name) => !name.endsWith('.log')),
    [],
  )
})
