// One file for the order of the steps: nothing is believed to be an engine before it has trained.
import { join } from 'node:path'
import {
  type Context,
  CxvError,
  formatBytes,
  isCxvError,
  prettyJsonBytes,
  startTask,
  throwIfAborted,
} from '../base/index.ts'
import {
  acquireLock,
  appendLine,
  folderBytes,
  makeFolder,
  makeSymlink,
  namesIn,
  pathExists,
  removePath,
  renamePath,
  runProgram,
  TEMPORARY_NAME,
  temporaryBeside,
  writeFileAtomic,
  processAlive,
} from '../io/index.ts'
import { checkEngine, type EngineCheck } from './engine-check.ts'
import {
  ENGINE_FILE,
  type EngineRecord,
  enginesFolder,
  findEngines,
  type FoundEngine,
  readEngineRecord,
  TFJS_MODULE,
} from './engine-find.ts'
import { checkParts, driverPart, gpuFacts, type Part, type Tools } from './engine-parts.ts'
import {
  CPU_WHEEL,
  CUDA_WHEEL,
  NVIDIA_WHEELS,
  PIP_TARGET,
  requirement,
  STOCK_TENSORFLOW,
  TFJS_VERSION,
  UNPACK_PROGRAM,
  type Wheel,
  WHEEL_TENSORFLOW,
} from './engine-wheels.ts'

type Environment = Readonly<Record<string, string | undefined>>

export interface SetupOptions {
  readonly env: Environment
  readonly cuda: boolean
  /** Set up again what is there; with `cuda`, go on without a driver. */
  readonly force: boolean
  readonly from: 'auto' | 'npm' | 'wheel'
}

export interface SetupResult {
  readonly engine: FoundEngine
  readonly record: EngineRecord
  readonly check: EngineCheck
  readonly alreadyThere: boolean
}

/** How long another set-up is waited for: it downloads, and what it makes is then used. */
const LOCK_WAIT_MS = 1_800_000
/** The stock package brings its libraries and its binding ready made. */
const STOCK_NEEDS: readonly string[] = ['npm', 'disk space']
const PROBE_MS = 5_000
const STOCK_HOST = 'https://storage.googleapis.com/'
const STOCK_FILE = `tensorflow/libtensorflow/libtensorflow-cpu-linux-x86_64-${STOCK_TENSORFLOW}.tar.gz`

/**
 * Sets TensorFlow up for this user, in a temporary folder that is renamed once it has trained.
 * @throws {ENGINE_SETUP} with all that is missing, before anything is downloaded; or what failed, with the log
 */
export async function setUpTensorflow(ctx: Context, options: SetupOptions): Promise<SetupResult> {
  const { env, cuda, force } = options
  const root = enginesFolder(env)
  const name = cuda ? 'tensorflow-cuda' : 'tensorflow'
  const present = findEngines(env).find((engine) => engine.name === name)
  if (present !== undefined && !force) return confirmed(ctx, present)
  if (cuda) requireDriver(env, force)
  const { parts, tools } = await checkParts(env, cuda)
  const stock = !cuda && options.from !== 'wheel' && (await stockReachable(ctx, env, options.from))
  requireParts(stock ? parts.filter(({ name }) => STOCK_NEEDS.includes(name)) : parts)
  makeFolder(root)
  const lock = await acquireLock(ctx, join(root, 'lock'), 'cxv engine add', LOCK_WAIT_MS)
  try {
    removeLeftovers(root)
    const made = findEngines(env).find((engine) => engine.name === name)
    if (made !== undefined && !force) return await confirmed(ctx, made)
    return await build(ctx, { ...options, root, name, stock, tools })
  } finally {
    lock.release()
  }
}

async function confirmed(ctx: Context, engine: FoundEngine): Promise<SetupResult> {
  const check = await withBeat(ctx, 'checking that TensorFlow trains', () =>
    checkEngine(ctx, engine.module),
  )
  const record = readEngineRecord(engine.folder)
  if (record === undefined) throw new Error(`${engine.folder} lost its record`)
  return { engine, record, check, alreadyThere: true }
}

function requireDriver(env: Environment, force: boolean): void {
  const driver = driverPart(gpuFacts(env))
  if (driver.ok || force) return
  const bytes = [CUDA_WHEEL, ...NVIDIA_WHEELS].reduce((sum, wheel) => sum + wheel.bytes, 0)
  throw new CxvError(
    'ENGINE_SETUP',
    `TensorFlow with CUDA needs an NVIDIA driver: ${driver.detail}. Nothing was downloaded (${formatBytes(bytes)} would be).`,
    {
      hint: `${driver.mend ?? ''}. Without a GPU: \`cxv engine add tensorflow\`. To set it up all the same, for a machine that gets its GPU later: --force`,
      data: { missing: [driver], downloadBytes: bytes },
    },
  )
}

function requireParts(parts: readonly Part[]): void {
  const missing = parts.filter((part) => !part.ok)
  if (missing.length === 0) return
  const packages = missing.flatMap(({ mend = '' }) =>
    mend.startsWith('apt install ') ? (mend.slice(12).split(' (')[0] ?? '').split(' ') : [],
  )
  throw new CxvError(
    'ENGINE_SETUP',
    [
      `TensorFlow cannot be set up here yet; nothing was downloaded. Missing:`,
      ...missing.map(({ name, detail, mend }) => `  ${name}: ${detail} (${mend ?? ''})`),
    ].join('\n'),
    {
      hint:
        packages.length > 0
          ? `sudo apt install ${[...new Set(packages)].join(' ')}`
          : '`cxv doctor` shows what this machine has',
      data: { missing },
    },
  )
}

/** Whether the stock package's own download would work: a short look, since npm would hang on it. */
async function stockReachable(
  ctx: Context,
  env: Environment,
  from: SetupOptions['from'],
): Promise<boolean> {
  if (from === 'npm') return true
  const base = env['TFJS_NODE_BASE_URI']
  const url =
    base !== undefined
      ? `${base}cpu-linux-x86_64-${STOCK_TENSORFLOW}.tar.gz`
      : `${env['TFJS_NODE_CDN_STORAGE'] ?? STOCK_HOST}${STOCK_FILE}`
  let why: string
  try {
    const signal = AbortSignal.any([ctx.signal, AbortSignal.timeout(PROBE_MS)])
    const { ok, status } = await fetch(url, { method: 'HEAD', signal })
    if (ok) return true
    why = `it answers ${status}`
  } catch {
    throwIfAborted(ctx)
    why = 'it cannot be reached'
  }
  ctx.emit({
    type: 'note',
    message: `the stock package downloads from ${new URL(url).host}, and ${why}; taking TensorFlow ${WHEEL_TENSORFLOW} from PyPI and compiling the binding here`,
  })
  return false
}

/** Temporary folders of set-ups that were stopped. A live process keeps its own. */
function removeLeftovers(root: string): void {
  for (const name of namesIn(root)) {
    const match = TEMPORARY_NAME.exec(name)
    if (match === null || name.startsWith('lock')) continue
    const pid = Number(match[1])
    if (pid === process.pid || !processAlive(pid)) removePath(join(root, name))
  }
}

interface Plan extends SetupOptions {
  readonly root: string
  readonly name: string
  readonly stock: boolean
  readonly tools: Tools
}

interface Build {
  readonly plan: Plan
  readonly temp: string
  readonly module: string
  log(text: string): void
}

async function build(ctx: Context, plan: Plan): Promise<SetupResult> {
  const temp = temporaryBeside(join(plan.root, plan.name))
  const log = join(plan.root, `${plan.name}.log`)
  removePath(log)
  makeFolder(temp)
  const here: Build = {
    plan,
    temp,
    module: join(temp, TFJS_MODULE),
    log: (text) => appendLine(log, text.trimEnd()),
  }
  try {
    const stock = plan.stock && (await tryStock(ctx, here))
    if (!stock) await fromWheels(ctx, here)
    const check = await withBeat(ctx, 'checking that TensorFlow trains', () =>
      checkEngine(ctx, here.module, here.log),
    )
    return publish(ctx, here, check, stock)
  } catch (error) {
    // Ctrl-C: the folder stays until the next set-up removes it, so that stopping is quick.
    throwIfAborted(ctx)
    removePath(temp)
    if (isCxvError(error, 'ENGINE_SETUP') || !isCxvError(error)) throw error
    throw new CxvError('ENGINE_SETUP', error.message, {
      hint: `the log is in ${log}`,
      cause: error,
    })
  }
}

function publish(ctx: Context, here: Build, check: EngineCheck, stock: boolean): SetupResult {
  const { plan, temp } = here
  removePath(join(here.module, 'deps', 'include'))
  removePath(join(here.module, 'build'))
  const version = check.tensorflow
  const record: EngineRecord = {
    format: 1,
    name: plan.name,
    version,
    cuda: plan.cuda,
    recipe: stock ? 'npm' : 'wheel',
    module: TFJS_MODULE,
    device: check.device,
    bytes: folderBytes(temp),
    createdAt: ctx.now(),
    node: process.versions.node,
    packages: stock
      ? { '@tensorflow/tfjs-node': TFJS_VERSION }
      : {
          '@tensorflow/tfjs-node': TFJS_VERSION,
          ...Object.fromEntries(wheelsOf(plan.cuda).map((wheel) => [wheel.name, wheel.version])),
        },
  }
  writeFileAtomic(join(temp, ENGINE_FILE), prettyJsonBytes(record))
  const folder = join(plan.root, `${plan.name}-${version}`)
  for (const { name, folder: old } of findEngines(plan.env)) if (name === plan.name) removePath(old)
  removePath(folder)
  renamePath(temp, folder)
  const engine: FoundEngine = {
    name: plan.name,
    folder,
    module: join(folder, TFJS_MODULE),
    version,
    cuda: plan.cuda,
  }
  return { engine, record, check, alreadyThere: false }
}

/** The stock package with its own install script. False: it did not work, and the wheels are next. */
async function tryStock(ctx: Context, here: Build): Promise<boolean> {
  try {
    await npmInstall(ctx, here, true)
    return true
  } catch (error) {
    throwIfAborted(ctx)
    if (here.plan.from === 'npm' || !isCxvError(error, 'ENGINE_SETUP')) throw error
    ctx.emit({
      type: 'warn',
      code: 'ENGINE_SETUP',
      message: 'the stock package did not install; taking TensorFlow from PyPI',
      hint: error.message,
    })
    requireParts((await checkParts(here.plan.env, false)).parts)
    removePath(join(here.temp, 'node_modules'))
    return false
  }
}

async function fromWheels(ctx: Context, here: Build): Promise<void> {
  const { cuda } = here.plan
  await npmInstall(ctx, here, false)
  const deps = join(here.module, 'deps')
  makeFolder(join(deps, 'lib'))
  // One wheel at a time, so that the peak of the disk is one wheel above what stays.
  for (const wheel of wheelsOf(cuda)) {
    const file = await download(ctx, here, wheel)
    await unpack(ctx, here, file, deps, wheel.name.startsWith('nvidia-') ? 'nvidia' : 'tensorflow')
    removePath(file)
  }
  makeSymlink('libtensorflow_cc.so.2', join(deps, 'lib', 'libtensorflow.so'))
  makeSymlink('libtensorflow_framework.so.2', join(deps, 'lib', 'libtensorflow_framework.so'))
  await compile(ctx, here)
  removePath(join(here.temp, 'wheels'))
}

const wheelsOf = (cuda: boolean): readonly Wheel[] =>
  cuda ? [CUDA_WHEEL, ...NVIDIA_WHEELS] : [CPU_WHEEL]

async function npmInstall(ctx: Context, here: Build, scripts: boolean): Promise<void> {
  const { npm = 'npm' } = here.plan.tools
  writeFileAtomic(
    join(here.temp, 'package.json'),
    prettyJsonBytes({ name: 'cxv-engine', private: true, version: '0.0.0' }),
  )
  const args = [
    'install',
    `--prefix=${here.temp}`,
    ...(scripts ? [] : ['--ignore-scripts']),
    '--no-audit',
    '--no-fund',
    '--fetch-timeout=60000',
    `@tensorflow/tfjs-node@${TFJS_VERSION}`,
  ]
  await withBeat(ctx, `installing @tensorflow/tfjs-node ${TFJS_VERSION}`, () =>
    must(ctx, here, npm, args, {
      what: 'npm could not install @tensorflow/tfjs-node',
      hint: 'check that this machine reaches the npm registry: npm ping',
    }),
  )
}

async function download(ctx: Context, here: Build, wheel: Wheel): Promise<string> {
  const { python = 'python3' } = here.plan.tools
  const folder = join(here.temp, 'wheels')
  const scratch = join(here.temp, 'scratch')
  makeFolder(folder)
  makeFolder(scratch)
  const list = join(scratch, 'requirements.txt')
  writeFileAtomic(list, new TextEncoder().encode(requirement(wheel)))
  const task = startTask(ctx, `downloading ${wheel.name} ${wheel.version}`, 'bytes', wheel.bytes)
  let seen = 0
  // pip tells nothing to programs, so the bytes are read off its temporary folder.
  const timer = setInterval(() => {
    const now = Math.min(wheel.bytes, folderBytes(scratch) + folderBytes(folder))
    if (now > seen) task.advance(now - seen)
    seen = Math.max(seen, now)
  }, 250)
  try {
    const args = ['-m', 'pip', 'download', '--require-hashes', `--requirement=${list}`]
    const quiet = ['--no-cache-dir', '--progress-bar=off', '--disable-pip-version-check']
    await must(ctx, here, python, [...args, ...quiet, ...PIP_TARGET, `--dest=${folder}`], {
      what: `pip could not download ${wheel.name} ${wheel.version}`,
      hint: `check that this machine reaches PyPI: ${python} -m pip download --no-deps six`,
      env: { TMPDIR: scratch, PIP_REQUIRE_VIRTUALENV: '0' },
    })
    if (wheel.bytes > seen) task.advance(wheel.bytes - seen)
  } finally {
    clearInterval(timer)
    task.end()
  }
  removePath(scratch)
  const [file] = namesIn(folder).filter((name) => name.endsWith('.whl'))
  if (file === undefined) throw new Error(`pip said it downloaded ${wheel.name}, and did not`)
  return join(folder, file)
}

async function unpack(
  ctx: Context,
  here: Build,
  wheel: string,
  target: string,
  kind: 'tensorflow' | 'nvidia',
): Promise<void> {
  const { python = 'python3' } = here.plan.tools
  const task = startTask(ctx, 'unpacking', 'bytes')
  let rest = ''
  const onOutput = (text: string): void => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const [word, count] = line.split(' ')
      if (word === 'total') task.setTotal(Number(count))
      else if (word === 'wrote') task.advance(Number(count))
    }
  }
  try {
    await must(ctx, here, python, ['-c', UNPACK_PROGRAM, wheel, target, kind], {
      what: `${wheel} could not be unpacked`,
      hint: 'free some space and run the same command again',
      onOutput,
    })
  } finally {
    task.end()
  }
}

async function compile(ctx: Context, here: Build): Promise<void> {
  const bin = join(here.temp, 'node_modules', '.bin', 'node-pre-gyp')
  const { nodeHome, python } = here.plan.tools
  await withBeat(ctx, 'compiling the binding', () =>
    must(ctx, here, process.execPath, [bin, 'install', '--build-from-source'], {
      what: 'the binding did not compile',
      hint: 'g++ 8 or newer is needed: g++ --version',
      cwd: here.module,
      env: {
        ...(nodeHome === undefined ? {} : { npm_config_nodedir: nodeHome }),
        ...(python === undefined ? {} : { npm_config_python: python }),
      },
    }),
  )
  const built = namesIn(join(here.module, 'lib')).some((name) =>
    pathExists(join(here.module, 'lib', name, 'tfjs_binding.node')),
  )
  if (!built) throw setupFailed(here, 'the compiler ended well but left no binding', '')
}

interface Step {
  readonly what: string
  readonly hint: string
  readonly cwd?: string
  readonly env?: Environment
  readonly onOutput?: (text: string) => void
}

/** Runs a program, all it says into the log. @throws {ENGINE_SETUP} when it fails */
async function must(
  ctx: Context,
  here: Build,
  program: string,
  args: readonly string[],
  step: Step,
): Promise<void> {
  here.log(`$ ${program} ${args.map((arg) => (arg.includes('\n') ? '...' : arg)).join(' ')}`)
  const output = await runProgram(program, args, {
    cwd: step.cwd ?? here.temp,
    env: { ...here.plan.env, ...step.env },
    signal: ctx.signal,
    onOutput: step.onOutput ?? here.log,
    keepChars: 1 << 16,
  })
  throwIfAborted(ctx)
  if (output.status === 0) return
  throw setupFailed(here, step.what, `${output.stdout}\n${output.stderr}`, step.hint)
}

function setupFailed(here: Build, what: string, output: string, hint?: string): CxvError {
  const log = join(here.plan.root, `${here.plan.name}.log`)
  const telling = output
    .split('\n')
    .filter((line) => /error|fatal|ERR!|No matching|no space/i.test(line))
    .slice(0, 6)
  return new CxvError('ENGINE_SETUP', [what, ...telling.map((line) => `  ${line}`)].join('\n'), {
    hint: `${hint === undefined ? '' : `${hint}. `}The log is in ${log}`,
    data: { log },
  })
}

/** A task that only shows that time passes: the program behind it tells no figures. */
async function withBeat<T>(ctx: Context, title: string, work: () => Promise<T>): Promise<T> {
  const task = startTask(ctx, title, 'steps', 1)
  const timer = setInterval(() => task.advance(0), 500)
  try {
    const result = await work()
    task.advance(1)
    return result
  } finally {
    clearInterval(timer)
    task.end()
  }
}
