import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { isCxvError } from '../base/index.ts'
import { command as doctor } from './doctor.ts'
import {
  engineFindings,
  type Finding,
  programFindings,
  repositoryFindings,
} from './doctor-facts.ts'
import { command as engineAdd } from './engine-add.ts'
import { command as engineList } from './engine-list.ts'
import { command as engineRemove } from './engine-remove.ts'
import { chooseEngine } from './run-engine.ts'
import type { CommandContext } from './types.ts'

function context(t: TestContext): CommandContext & { readonly cwd: string } {
  const cwd = mkdtempSync(join(tmpdir(), 'cxv-doctor-'))
  t.after(() => rmSync(cwd, { recursive: true, force: true }))
  return {
    cwd,
    env: { PATH: join(cwd, 'nothing'), CXV_ENGINES_DIR: join(cwd, 'engines') },
    emit: () => undefined,
    signal: new AbortController().signal,
    now: () => Date.now(),
    random: (n) => new Uint8Array(n),
  }
}

const plain = {
  width: 80,
  bold: String,
  dim: String,
  green: String,
  red: String,
  yellow: String,
}

function putEngine(ctx: CommandContext, source: string, cuda = false): void {
  const name = cuda ? 'tensorflow-cuda' : 'tensorflow'
  const folder = join(ctx.env['CXV_ENGINES_DIR'] ?? '', `${name}-2.20.0`)
  const module = join(folder, 'node_modules', '@tensorflow', 'tfjs-node')
  mkdirSync(module, { recursive: true })
  writeFileSync(join(module, 'package.json'), '{"main":"index.js"}')
  writeFileSync(join(module, 'index.js'), source)
  const record = {
    format: 1,
    name,
    version: '2.20.0',
    cuda,
    recipe: 'wheel',
    module: 'node_modules/@tensorflow/tfjs-node',
    bytes: 12,
  }
  writeFileSync(join(folder, 'engine.json'), JSON.stringify(record))
}

const named = (findings: readonly Finding[], name: string): Finding | undefined =>
  findings.find((finding) => finding.name === name)

test('a program that is not there could be there, and the line says how', async (t) => {
  const findings = await programFindings(context(t))
  for (const name of ['ssh', 'git', 'npm', 'python', 'compiler', 'make']) {
    const finding = named(findings, name)
    assert.equal(finding?.state, 'could', name)
    assert.match(finding.mend ?? '', /^apt install /)
  }
})

test('an engine that was set up is told, one that does not train is lacking', async (t) => {
  const ctx = context(t)
  assert.equal(named(await engineFindings(ctx, false), 'tensorflow')?.state, 'could')
  putEngine(ctx, 'throw new Error("broken")')
  assert.equal(named(await engineFindings(ctx, false), 'tensorflow')?.state, 'ok')
  const broken = named(await engineFindings(ctx, true), 'tensorflow')
  assert.deepEqual([broken?.state, broken?.mend], ['lacks', 'cxv engine add tensorflow --force'])
})

/** What the engine's port asks of tfjs-node when it is opened. */
const ON_THE_CPU = `module.exports = {
  setBackend: async () => true,
  getBackend: () => 'tensorflow',
  backend: () => ({ isUsingGpuDevice: false, binding: { TF_Version: '2.20.0' } }),
  customGrad: (f) => f,
}`

test('an engine with CUDA on a machine without a GPU is told as what it is: on the CPU', async (t) => {
  const ctx = context(t)
  putEngine(ctx, ON_THE_CPU, true)
  for (const requested of ['auto', 'tensorflow'] as const) {
    const { engine, reason } = await chooseEngine(ctx, requested)
    assert.match(engine.describe.text, /on CPU/)
    assert.match(reason, /TensorFlow 2\.20\.0, CPU/)
  }
  const findings = await engineFindings(ctx, false)
  assert.equal(named(findings, 'tensorflow'), undefined)
  if (named(findings, 'gpu')?.state === 'ok') return t.skip('this machine has a GPU')
  assert.match(named(findings, 'tensorflow-cuda')?.detail ?? '', /on the CPU/)
  const listed = await engineList.execute(ctx, { _: {} })
  assert.match([...listed.text(plain)].join('\n'), /on the CPU here/)
})

test('a repository is looked at from any folder in it, and its damage is named', (t) => {
  const ctx = context(t)
  assert.match(repositoryFindings(ctx)[0]?.detail ?? '', /in no repository/)
  mkdirSync(join(ctx.cwd, '.cxv', 'git'), { recursive: true })
  writeFileSync(join(ctx.cwd, '.cxv', 'config.json'), '{}')
  mkdirSync(join(ctx.cwd, '.cxv', 'bad'))
  writeFileSync(join(ctx.cwd, '.cxv', 'bad', 'x'), '')
  mkdirSync(join(ctx.cwd, 'images'))
  const findings = repositoryFindings({ ...ctx, cwd: join(ctx.cwd, 'images') })
  assert.deepEqual(
    findings.map(({ name, state }) => [name, state]),
    [
      ['repository', 'ok'],
      ['history', 'lacks'],
      ['packs', 'ok'],
      ['damage', 'lacks'],
    ],
  )
})

test('doctor ends with 3 when something is lacking, and every such line has its command', async (t) => {
  const ctx = context(t)
  const well = await doctor.execute(ctx, { _: {} })
  assert.equal(well.exit, 0)
  mkdirSync(join(ctx.cwd, '.cxv'))
  const ill = await doctor.execute(ctx, { _: {} })
  assert.equal(ill.exit, 3)
  const { findings } = ill.json as { readonly findings: readonly Finding[] }
  for (const { state, mend, name } of findings) {
    if (state !== 'ok') assert.ok(mend, name)
  }
  assert.match([...ill.text(plain)].join('\n'), /lacks +repository/)
})

test('engines are listed best first and removed by name', async (t) => {
  const ctx = context(t)
  putEngine(ctx, '')
  const names = async (): Promise<readonly string[]> => {
    const { json } = await engineList.execute(ctx, { _: {} })
    return (json as { engines: { name: string }[] }).engines.map(({ name }) => name)
  }
  assert.deepEqual(await names(), ['tensorflow', 'wasm', 'cpu'])
  const remove = (name: string) => engineRemove.execute(ctx, { _: { name: [name] } })
  await assert.rejects(
    remove('tensorflo'),
    (error) => isCxvError(error, 'ENGINE_MISSING') && error.hint === 'cxv engine remove tensorflow',
  )
  await remove('tensorflow')
  assert.deepEqual(await names(), ['wasm', 'cpu'])
})

test('an engine that cannot be set up is a wrong use', async (t) => {
  const ctx = context(t)
  const add = (name: string) => engineAdd.execute(ctx, { _: { name: [name] } })
  await assert.rejects(add('wasm'), (e) => isCxvError(e, 'USAGE') && /no set-up/.test(e.hint ?? ''))
  await assert.rejects(add('torch'), (e) => isCxvError(e, 'USAGE'))
})
