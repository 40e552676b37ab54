import { dirname, join } from 'node:path'
import { formatBytes } from '../base/index.ts'
import {
  findProgram,
  freeDiskBytes,
  namesIn,
  pathExists,
  readTextIfAny,
  realPathIfAny,
  runProgram,
} from '../io/index.ts'
import { enginesFolder } from './engine-find.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** One thing that setting up an engine needs. */
export interface Part {
  readonly name: string
  readonly ok: boolean
  /** What was found, or what is missing. */
  readonly detail: string
  /** The command that mends it. */
  readonly mend?: string
}

export interface Tools {
  readonly npm?: string
  /** A Python with pip. */
  readonly python?: string
  /** A folder with include/node/node_api.h below it, for `--nodedir`. */
  readonly nodeHome?: string
}

/** Peak of the set-up, measured (docs/decisions/0015), with some to spare. */
const NEEDED_BYTES = { cpu: 2_000_000_000, cuda: 8_000_000_000 }

/**
 * What the recipe needs on this machine, each found or named with the command that mends it.
 * Starts nothing but `python -m pip --version`.
 */
export async function checkParts(
  env: Environment,
  cuda: boolean,
  platform: string = `${process.platform}-${process.arch}`,
): Promise<{ readonly parts: readonly Part[]; readonly tools: Tools }> {
  const npm = findProgram(env, 'npm')
  const python = await findPython(env)
  const nodeHome = findNodeHome(env)
  const compiler = env['CXX'] ?? 'g++'
  const needed = cuda ? NEEDED_BYTES.cuda : NEEDED_BYTES.cpu
  const free = freeDiskBytes(enginesFolder(env))
  const parts: Part[] = [
    part('platform', platform === 'linux-x64', {
      found: 'Linux on x64',
      lacks: `TensorFlow's libraries are taken for Linux on x64; this is ${platform}`,
      mend: "use `engine: wasm`, or an x64 Linux machine's",
    }),
    program('npm', npm, 'apt install npm'),
    part('python', python?.pip === true, {
      found: `${python?.path ?? ''} with pip`,
      lacks: python === undefined ? 'no python3 in PATH' : `${python.path} has no pip`,
      mend: python === undefined ? 'apt install python3 python3-pip' : 'apt install python3-pip',
    }),
    program('compiler', findProgram(env, compiler), 'apt install g++', compiler),
    program('make', findProgram(env, 'make'), 'apt install make'),
    part('node headers', nodeHome !== undefined, {
      found: join(nodeHome ?? '', 'include', 'node'),
      lacks: `no node_api.h beside ${process.execPath}, in /usr/include/node, or where npm_config_nodedir says`,
      mend: "apt install libnode-dev (Debian's node), or Node's own tarball from nodejs.org, which carries them",
    }),
    part('disk space', free >= needed, {
      found: `${formatBytes(free)} free`,
      lacks: `${enginesFolder(env)} has ${formatBytes(free)} free; ${formatBytes(needed)} are needed`,
      mend: 'free some space, or set CXV_ENGINES_DIR to a folder on a larger disk',
    }),
  ]
  return {
    parts,
    tools: {
      ...(npm === undefined ? {} : { npm }),
      ...(python?.pip ? { python: python.path } : {}),
      ...(nodeHome === undefined ? {} : { nodeHome }),
    },
  }
}

function part(
  name: string,
  ok: boolean,
  says: { readonly found: string; readonly lacks: string; readonly mend: string },
): Part {
  return ok ? { name, ok, detail: says.found } : { name, ok, detail: says.lacks, mend: says.mend }
}

const program = (name: string, path: string | undefined, mend: string, called = name): Part =>
  part(name, path !== undefined, { found: path ?? '', lacks: `no ${called} in PATH`, mend })

/** The first Python with pip; else the first Python; any version will do, for it only downloads. */
async function findPython(
  env: Environment,
): Promise<{ readonly path: string; readonly pip: boolean } | undefined> {
  let first: string | undefined
  for (const name of [
    'python3',
    'python',
    'python3.13',
    'python3.12',
    'python3.11',
    'python3.10',
  ]) {
    const path = findProgram(env, name)
    if (path === undefined) continue
    first ??= path
    if (await runs(env, path, ['-m', 'pip', '--version'])) return { path, pip: true }
  }
  return first === undefined ? undefined : { path: first, pip: false }
}

async function runs(env: Environment, program: string, args: readonly string[]): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(20_000)
    return (await runProgram(program, args, { env, signal })).status === 0
  } catch {
    return false
  }
}

/** Where node-gyp finds headers without downloading them: beside node, or Debian's libnode-dev. */
function findNodeHome(env: Environment): string | undefined {
  const beside = dirname(dirname(realPathIfAny(process.execPath) ?? process.execPath))
  const candidates = [env['npm_config_nodedir'], beside, '/usr', '/usr/local']
  return candidates.find(
    (home) =>
      home !== undefined &&
      home !== '' &&
      pathExists(join(home, 'include', 'node', 'node_api.h')) &&
      pathExists(join(home, 'include', 'node', 'common.gypi')),
  )
}

export interface GpuFacts {
  /** Names as the driver tells them, or device files. */
  readonly devices: readonly string[]
  readonly driver: string | undefined
  /** libcuda.so.1, the driver's own library. */
  readonly libcuda: string | undefined
}

const LIBCUDA_FOLDERS = [
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib64',
  '/usr/lib',
  '/usr/local/nvidia/lib64',
  '/usr/local/cuda/compat',
  '/usr/lib/wsl/lib',
]

/** What there is of an NVIDIA GPU. @param root where the file system begins (tests) */
export function gpuFacts(env: Environment, root = '/'): GpuFacts {
  const version = readTextIfAny(join(root, 'proc/driver/nvidia/version'))
  const cards = namesIn(join(root, 'proc/driver/nvidia/gpus')).map((slot) => {
    const text = readTextIfAny(join(root, 'proc/driver/nvidia/gpus', slot, 'information')) ?? ''
    return /^Model:\s*(.+)$/m.exec(text)?.[1]?.trim() ?? slot
  })
  const files = namesIn(join(root, 'dev')).filter((n) => /^nvidia\d+$/.test(n) || n === 'dxg')
  const searched = [...(env['LD_LIBRARY_PATH'] ?? '').split(':'), ...LIBCUDA_FOLDERS]
  return {
    devices: cards.length > 0 ? cards : files.map((n) => `/dev/${n}`),
    driver: version === undefined ? undefined : / (\d+\.\d+(?:\.\d+)?) /.exec(version)?.[1],
    libcuda: searched
      .filter((folder) => folder.startsWith('/'))
      .map((folder) => join(root, folder, 'libcuda.so.1'))
      .find((path) => pathExists(path)),
  }
}

/** The driver as a part of the CUDA set-up. */
export function driverPart(facts: GpuFacts): Part {
  const lacks = [
    ...(facts.devices.length === 0 ? ['no NVIDIA device (/dev/nvidia*)'] : []),
    ...(facts.libcuda === undefined ? ["not the driver's library (libcuda.so.1)"] : []),
  ]
  return part('NVIDIA driver', lacks.length === 0, {
    found: [...facts.devices, ...(facts.driver ? [`driver ${facts.driver}`] : [])].join(', '),
    lacks: `this machine has ${lacks.join(' and ')}`,
    mend: 'apt install nvidia-driver (525 or newer); in a container: docker run --gpus all',
  })
}
