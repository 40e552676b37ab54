import { join } from 'node:path'
import { isRecord, type Json, parseJson } from '../base/index.ts'
import { homedir, namesIn, pathExists, readTextIfAny } from '../io/index.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** An engine that `cxv engine add` set up for this user. */
export interface FoundEngine {
  /** `tensorflow` or `tensorflow-cuda`. */
  readonly name: string
  readonly folder: string
  /** The folder of the npm package to load: `openEngine({ tensorflowModule })`. */
  readonly module: string
  /** TensorFlow's version. */
  readonly version: string
  readonly cuda: boolean
}

/** What engine.json says: how the engine was made. */
export interface EngineRecord {
  readonly format: 1
  readonly name: string
  readonly version: string
  readonly cuda: boolean
  /** `npm`: the stock package; `wheel`: libraries from PyPI, binding compiled here. */
  readonly recipe: 'npm' | 'wheel'
  /** Relative to the folder. */
  readonly module: string
  readonly device: 'cpu' | 'gpu'
  readonly bytes: number
  readonly createdAt: number
  readonly node: string
  readonly packages: Json
}

export const ENGINE_FILE = 'engine.json'
export const TFJS_MODULE = join('node_modules', '@tensorflow', 'tfjs-node')
export const TFJS_GPU_MODULE = join('node_modules', '@tensorflow', 'tfjs-node-gpu')

/** Where engines live: per user, outside any repository, so that no repository can bring one along. */
export function enginesFolder(env: Environment): string {
  const chosen = env['CXV_ENGINES_DIR']
  if (chosen !== undefined && chosen !== '') return chosen
  const data = env['XDG_DATA_HOME']
  // The XDG specification: a relative path there is invalid and is ignored.
  if (data?.startsWith('/')) return join(data, 'cxv', 'engines')
  return join(env['HOME'] ?? homedir(), '.local', 'share', 'cxv', 'engines')
}

/** Engines set up on this machine for this user: CUDA first, then the newest. */
export function findEngines(env: Environment): readonly FoundEngine[] {
  const root = enginesFolder(env)
  const found: FoundEngine[] = []
  for (const name of namesIn(root)) {
    const folder = join(root, name)
    const record = readEngineRecord(folder)
    if (record === undefined || `${record.name}-${record.version}` !== name) continue
    const module = join(folder, record.module)
    if (!pathExists(join(module, 'package.json'))) continue
    found.push({ name: record.name, folder, module, version: record.version, cuda: record.cuda })
  }
  return found.sort(
    (a, b) => Number(b.cuda) - Number(a.cuda) || compareVersions(b.version, a.version),
  )
}

export function readEngineRecord(folder: string): EngineRecord | undefined {
  const text = readTextIfAny(join(folder, ENGINE_FILE))
  if (text === undefined) return undefined
  let value: unknown
  try {
    value = parseJson(text)
  } catch {
    return undefined
  }
  if (!isRecord(value) || value['format'] !== 1) return undefined
  const { name, version, module, cuda } = value
  if (typeof name !== 'string' || typeof version !== 'string' || typeof cuda !== 'boolean')
    return undefined
  if (module !== TFJS_MODULE && module !== TFJS_GPU_MODULE) return undefined
  // The keys that are acted on are checked; the others are shown only.
  return value as unknown as EngineRecord
}

function compareVersions(a: string, b: string): number {
  const [x, y] = [a, b].map((v) => v.split('.').map(Number))
  for (let i = 0; i < 3; i++) {
    const d = (x?.[i] ?? 0) - (y?.[i] ?? 0)
    if (d !== 0) return d
  }
  return 0
}
