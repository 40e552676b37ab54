import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { type Context, type Event, isCxvError } from '../base/index.ts'
import { checkEngine } from './engine-check.ts'
import { enginesFolder, findEngines } from './engine-find.ts'
import { checkParts, driverPart, gpuFacts } from './engine-parts.ts'
import { setUpTensorflow } from './engine-setup.ts'

function place(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'cxv-engine-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

function context(signal = new AbortController().signal): Context & { readonly events: Event[] } {
  const events: Event[] = []
  return {
    events,
    emit: (event) => events.push(event),
    signal,
    now: () => Date.now(),
    random: (n) => new Uint8Array(n),
  }
}

function script(path: string, lines: readonly string[], interpreter = '/bin/sh'): void {
  writeFileSync(path, [`#!${interpreter}`, ...lines, ''].join('\n'))
  chmodSync(path, 0o755)
}

/** A package that answers as tfjs-node does, with the losses it is told. */
const fakeTensorflow = (losses: readonly number[]): string => `
let step = 0
const losses = ${JSON.stringify(losses)}.map((v) => (v === -1 ? NaN : v))
const tensor = (values) => ({ dataSync: () => values, dispose() {} })
const same = (x) => x
const filter = Array.from({ length: 36 }, () => 0)
module.exports = {
  tensor, variable: (t) => (t.dataSync().length === 36 ? tensor(filter) : t), conv2d: same, relu: same, matMul: same, mean: same, square: same, sub: same,
  train: { sgd: () => ({ minimize: () => { filter[0] += 1; return tensor([losses[Math.min(step++, losses.length - 1)]]) } }) },
  backend: () => ({ binding: { TF_Version: '2.20.0' }, isUsingGpuDevice: false }),
}
`

function fakeModule(dir: string, source: string): string {
  const module = join(dir, 'node_modules', '@tensorflow', 'tfjs-node')
  mkdirSync(module, { recursive: true })
  writeFileSync(join(module, 'package.json'), '{"name":"@tensorflow/tfjs-node","main":"index.js"}')
  writeFileSync(join(module, 'index.js'), source)
  return module
}

/** npm, python3, g++ and make that do what the recipe expects of them, in no time. */
function fakePrograms(dir: string, npmTail: readonly string[] = []): string {
  const bin = join(dir, 'bin')
  mkdirSync(bin)
  writeFileSync(join(dir, 'index.js'), fakeTensorflow([1, 0.1]))
  script(join(bin, 'npm'), [
    ...npmTail,
    'm="$PWD/node_modules/@tensorflow/tfjs-node"; mkdir -p "$m" "$PWD/node_modules/.bin"',
    `cp '${join(dir, 'index.js')}' "$m/index.js"; echo '{"main":"index.js"}' > "$m/package.json"`,
    `echo 'const fs=require("fs");fs.mkdirSync("lib/napi-v8",{recursive:true});fs.writeFileSync("lib/napi-v8/tfjs_binding.node","")' > "$PWD/node_modules/.bin/node-pre-gyp"`,
  ])
  script(join(bin, 'python3'), [
    'if [ "$1" = -c ]; then echo "total 7"; echo "wrote 7"; exit 0; fi',
    'for a in "$@"; do case "$a" in --dest=*) : > "${a#--dest=}/tensorflow_cpu.whl";; esac; done',
    'exit 0',
  ])
  for (const name of ['g++', 'make']) script(join(bin, name), [])
  return `${bin}:/usr/bin:/bin`
}

const CLOSED = 'http://127.0.0.1:9/'

test('all that is missing is named with its command before anything is downloaded', async (t) => {
  const dir = place(t)
  const env = { PATH: join(dir, 'empty'), CXV_ENGINES_DIR: join(dir, 'engines') }
  const failed: unknown = await setUpTensorflow(context(), {
    env,
    cuda: false,
    force: false,
    from: 'wheel',
  }).catch((error: unknown) => error)
  assert.ok(isCxvError(failed, 'ENGINE_SETUP'))
  for (const word of ['npm:', 'python:', 'compiler:', 'make:'])
    assert.ok(failed.message.includes(word))
  assert.match(failed.hint ?? '', /^sudo apt install npm python3 python3-pip g\+\+ make/)
  assert.equal(existsSync(env.CXV_ENGINES_DIR), false)
})

test('a python without pip is told apart from no python', async (t) => {
  const dir = place(t)
  script(join(dir, 'python3'), ['exit 1'])
  const { parts, tools } = await checkParts({ PATH: dir, CXV_ENGINES_DIR: dir }, false)
  const python = parts.find(({ name }) => name === 'python')
  assert.equal(python?.ok, false)
  assert.match(python?.detail ?? '', /has no pip/)
  assert.equal(python?.mend, 'apt install python3-pip')
  assert.equal(tools.python, undefined)
})

test('another platform is refused with a way on', async (t) => {
  const dir = place(t)
  const { parts } = await checkParts({ PATH: '', CXV_ENGINES_DIR: dir }, false, 'darwin-arm64')
  const platform = parts.find(({ name }) => name === 'platform')
  assert.match(platform?.detail ?? '', /Linux on x64; this is darwin-arm64/)
  assert.match(platform?.mend ?? '', /engine: wasm/)
})

test('--cuda without a driver stops before the download and says how much it would be', async (t) => {
  const dir = place(t)
  if (driverPart(gpuFacts(process.env)).ok) return t.skip('this machine has an NVIDIA driver')
  const env = { PATH: fakePrograms(dir), CXV_ENGINES_DIR: join(dir, 'engines') }
  await assert.rejects(
    setUpTensorflow(context(), { env, cuda: true, force: false, from: 'auto' }),
    (error) =>
      isCxvError(error, 'ENGINE_SETUP') &&
      /NVIDIA driver: this machine has no .*Nothing was downloaded \(3\.19 GiB/.test(
        error.message,
      ) &&
      /--force/.test(error.hint ?? ''),
  )
  assert.equal(existsSync(env.CXV_ENGINES_DIR), false)
})

test('a driver is found by its files', (t) => {
  const dir = place(t)
  mkdirSync(join(dir, 'dev'))
  mkdirSync(join(dir, 'usr/lib/x86_64-linux-gnu'), { recursive: true })
  mkdirSync(join(dir, 'proc/driver/nvidia/gpus/0000:01:00.0'), { recursive: true })
  assert.equal(driverPart(gpuFacts({}, dir)).ok, false)
  writeFileSync(join(dir, 'dev/nvidia0'), '')
  writeFileSync(join(dir, 'usr/lib/x86_64-linux-gnu/libcuda.so.1'), '')
  writeFileSync(
    join(dir, 'proc/driver/nvidia/version'),
    'NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5\n',
  )
  writeFileSync(
    join(dir, 'proc/driver/nvidia/gpus/0000:01:00.0/information'),
    'Model: \t\t NVIDIA H100\nIRQ: 1\n',
  )
  const part = driverPart(gpuFacts({}, dir))
  assert.deepEqual([part.ok, part.detail], [true, 'NVIDIA H100, driver 550.54.15'])
})

test('the recipe: built beside, checked, renamed, recorded; a second time it is there', async (t) => {
  const dir = place(t)
  const env = {
    PATH: fakePrograms(dir),
    CXV_ENGINES_DIR: join(dir, 'engines'),
    TFJS_NODE_BASE_URI: CLOSED,
  }
  const ctx = context()
  const leftover = join(env.CXV_ENGINES_DIR, `tensorflow.tmp-${process.pid}-abc-1`)
  mkdirSync(leftover, { recursive: true })
  const options = { env, cuda: false, force: false, from: 'auto' } as const
  const made = await setUpTensorflow(ctx, options)
  assert.equal(made.engine.folder, join(env.CXV_ENGINES_DIR, 'tensorflow-2.20.0'))
  assert.deepEqual(
    [made.record.recipe, made.record.device, made.alreadyThere],
    ['wheel', 'cpu', false],
  )
  assert.deepEqual(readdirSync(env.CXV_ENGINES_DIR).sort(), ['tensorflow-2.20.0', 'tensorflow.log'])
  assert.deepEqual(findEngines(env), [made.engine])
  assert.ok(ctx.events.some((e) => e.type === 'note' && /cannot be reached/.test(e.message)))
  assert.ok(
    ctx.events.some((e) => e.type === 'task.start' && /downloading tensorflow-cpu/.test(e.title)),
  )
  assert.equal((await setUpTensorflow(context(), options)).alreadyThere, true)
  const again = await setUpTensorflow(context(), { ...options, force: true })
  assert.equal(again.alreadyThere, false)
})

test('a step that fails leaves no engine, and says where the log is', async (t) => {
  const dir = place(t)
  const env = {
    PATH: fakePrograms(dir, ['echo "npm ERR! no route" >&2; exit 1']),
    CXV_ENGINES_DIR: join(dir, 'engines'),
  }
  await assert.rejects(
    setUpTensorflow(context(), { env, cuda: false, force: false, from: 'wheel' }),
    (error) =>
      isCxvError(error, 'ENGINE_SETUP') &&
      /npm could not install[^]*npm ERR! no route/.test(error.message) &&
      /tensorflow\.log/.test(error.hint ?? ''),
  )
  assert.deepEqual(readdirSync(env.CXV_ENGINES_DIR), ['tensorflow.log'])
  assert.match(readFileSync(join(env.CXV_ENGINES_DIR, 'tensorflow.log'), 'utf8'), /no route/)
})

test('an engine that does not learn is never published', async (t) => {
  const dir = place(t)
  const env = { PATH: fakePrograms(dir), CXV_ENGINES_DIR: join(dir, 'engines') }
  writeFileSync(join(dir, 'index.js'), fakeTensorflow([1, -1]))
  await assert.rejects(
    setUpTensorflow(context(), { env, cuda: false, force: false, from: 'wheel' }),
    (error) => isCxvError(error, 'ENGINE_SETUP') && /does not train/.test(error.message),
  )
  assert.deepEqual(findEngines(env), [])
})

test('stopped half-way, only a temporary folder stays, and the next set-up removes it', async (t) => {
  const dir = place(t)
  const started = join(dir, 'started')
  const env = {
    PATH: fakePrograms(dir, [`: > '${started}'; [ -e '${dir}/go' ] || exec sleep 60`]),
    CXV_ENGINES_DIR: join(dir, 'engines'),
  }
  const stop = new AbortController()
  const options = { env, cuda: false, force: false, from: 'wheel' } as const
  const work = setUpTensorflow(context(stop.signal), options)
  const watch = setInterval(() => existsSync(started) && stop.abort(new Error('stopped')), 10)
  await assert.rejects(work, /stopped/)
  clearInterval(watch)
  assert.equal(readdirSync(env.CXV_ENGINES_DIR).filter((n) => n.includes('.tmp-')).length, 1)
  writeFileSync(join(dir, 'go'), '')
  await setUpTensorflow(context(), options)
  assert.deepEqual(readdirSync(env.CXV_ENGINES_DIR).sort(), ['tensorflow-2.20.0', 'tensorflow.log'])
})

test('the check tells learning from diverging, standing still and crashing', async (t) => {
  const dir = place(t)
  const check = (source: string): Promise<unknown> =>
    checkEngine(context(), fakeModule(dir, source))
  assert.deepEqual(await check(fakeTensorflow([2, 1, 0.5])), {
    tensorflow: '2.20.0',
    device: 'cpu',
    firstLoss: 2,
    lastLoss: 0.5,
  })
  const refused = (error: unknown): boolean => isCxvError(error, 'ENGINE_FAILED')
  await assert.rejects(check(fakeTensorflow([2, 90, -1])), refused)
  await assert.rejects(check(fakeTensorflow([2, 2])), refused)
  await assert.rejects(check('throw new Error("libtensorflow.so.2: cannot open")'), refused)
  await assert.rejects(check('process.kill(process.pid, "SIGSEGV")'), refused)
})

test('engines are found newest and CUDA first; a record that points elsewhere is passed over', (t) => {
  const dir = place(t)
  const put = (
    name: string,
    version: string,
    record: Readonly<Record<string, unknown>> = {},
  ): void => {
    const folder = join(dir, `${name}-${version}`)
    fakeModule(folder, '')
    const told = {
      format: 1,
      name,
      version,
      cuda: name.endsWith('cuda'),
      module: 'node_modules/@tensorflow/tfjs-node',
      ...record,
    }
    writeFileSync(join(folder, 'engine.json'), JSON.stringify(told))
  }
  put('tensorflow', '2.9.1')
  put('tensorflow', '2.20.0')
  put('tensorflow-cuda', '2.18.0')
  put('tensorflow', '9.0.0', { module: '../../evil' })
  put('tensorflow', '9.0.1', { name: 'other' })
  put('tensorflow', '9.0.2', { format: 2 })
  mkdirSync(join(dir, 'tensorflow-9.0.3'))
  writeFileSync(join(dir, 'tensorflow-9.0.3', 'engine.json'), '{')
  assert.deepEqual(
    findEngines({ CXV_ENGINES_DIR: dir }).map(({ name, version }) => `${name} ${version}`),
    ['tensorflow-cuda 2.18.0', 'tensorflow 2.20.0', 'tensorflow 2.9.1'],
  )
})

test('engines live in the data folder of the user', () => {
  assert.equal(enginesFolder({ HOME: '/h' }), '/h/.local/share/cxv/engines')
  assert.equal(enginesFolder({ HOME: '/h', XDG_DATA_HOME: '/d' }), '/d/cxv/engines')
  assert.equal(enginesFolder({ HOME: '/h', XDG_DATA_HOME: 'rel' }), '/h/.local/share/cxv/engines')
  assert.equal(enginesFolder({ HOME: '/h', CXV_ENGINES_DIR: '/e' }), '/e')
})
