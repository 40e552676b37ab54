import { dirname, join } from 'node:path'
import { formatBytes, formatCount, plural } from '../base/index.ts'
import {
  findProgram,
  folderBytes,
  freeDiskBytes,
  hardwareFacts,
  namesIn,
  pathExists,
  runProgram,
} from '../io/index.ts'
import { checkEngine } from './engine-check.ts'
import { findEngines } from './engine-find.ts'
import { checkParts, driverPart, gpuFacts } from './engine-parts.ts'
import type { CommandContext } from './types.ts'

/** One line of `cxv doctor`. */
export interface Finding {
  readonly group: 'machine' | 'programs' | 'engines' | 'repository'
  readonly name: string
  /** `ok`; `lacks`: something does not work without it; `could`: nothing needs it, but something would be better. */
  readonly state: 'ok' | 'lacks' | 'could'
  readonly detail: string
  /** The command that mends it. */
  readonly mend?: string
}

const MIN_NODE = [20, 19] as const
const MIN_MEMORY = 2_000_000_000
const MIN_FREE = 1_000_000_000

export function machineFindings({ cwd }: CommandContext): readonly Finding[] {
  const { cores, memoryBytes, freeMemoryBytes, cpu, os } = hardwareFacts()
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const node = major > MIN_NODE[0] || (major === MIN_NODE[0] && minor >= MIN_NODE[1])
  const free = freeDiskBytes(cwd)
  const group = 'machine'
  return [
    {
      group,
      name: 'node',
      state: node ? 'ok' : 'lacks',
      detail: `${process.versions.node} (${process.execPath})`,
      ...(node ? {} : { mend: `install Node ${MIN_NODE.join('.')} or newer from nodejs.org` }),
    },
    { group, name: 'system', state: 'ok', detail: `${os}, ${process.arch}` },
    { group, name: 'cores', state: 'ok', detail: `${cores} (${cpu})` },
    {
      group,
      name: 'memory',
      state: memoryBytes >= MIN_MEMORY ? 'ok' : 'could',
      detail: `${formatBytes(memoryBytes)}, ${formatBytes(freeMemoryBytes)} free`,
      ...(memoryBytes >= MIN_MEMORY ? {} : { mend: 'train with a smaller train.batch' }),
    },
    {
      group,
      name: 'disk',
      state: free >= MIN_FREE ? 'ok' : 'lacks',
      detail: `${formatBytes(free)} free where ${cwd} is`,
      ...(free >= MIN_FREE
        ? {}
        : { mend: 'free some space: .cxv/cache may be deleted at any time' }),
    },
  ]
}

export async function programFindings({ env }: CommandContext): Promise<readonly Finding[]> {
  const { parts } = await checkParts(env, false)
  const program = async (
    name: string,
    args: readonly string[],
    why: string,
    mend: string,
  ): Promise<Finding> => {
    const path = findProgram(env, name)
    const version = path === undefined ? undefined : await firstLine(path, args)
    return path === undefined
      ? { group: 'programs', name, state: 'could', detail: `not in PATH (${why})`, mend }
      : { group: 'programs', name, state: 'ok', detail: version ?? path }
  }
  return [
    await program('ssh', ['-V'], 'for remotes over ssh', 'apt install openssh-client'),
    await program('git', ['--version'], 'to look at .cxv/git by hand', 'apt install git'),
    ...parts
      .filter(({ name }) => name !== 'disk space' && name !== 'platform')
      .map(({ name, ok, detail, mend }): Finding => ({
        group: 'programs',
        name,
        state: ok ? 'ok' : 'could',
        detail: ok ? detail : `${detail} (for cxv engine add tensorflow)`,
        ...(mend === undefined ? {} : { mend }),
      })),
  ]
}

/** @param train load each engine and train on it, a few seconds each */
export async function engineFindings(
  ctx: CommandContext,
  train: boolean,
): Promise<readonly Finding[]> {
  const group = 'engines'
  const found: Finding[] = [
    { group, name: 'wasm', state: 'ok', detail: 'comes with cxv, runs wherever Node runs' },
  ]
  const engines = findEngines(ctx.env)
  const driver = driverPart(gpuFacts(ctx.env))
  for (const { name, version, folder, module, cuda } of engines) {
    try {
      const check = train ? await checkEngine(ctx, module) : undefined
      const here = cuda && !driver.ok ? `on the CPU, without a driver: ${folder}` : folder
      const detail =
        check === undefined ? here : `trains on the ${check.device.toUpperCase()}: ${folder}`
      found.push({ group, name, state: 'ok', detail: `TensorFlow ${version}, ${detail}` })
    } catch (error) {
      ctx.signal.throwIfAborted()
      const [why] = (error as Error).message.split('\n')
      const mend = `cxv engine add tensorflow${cuda ? ' --cuda' : ''} --force`
      found.push({ group, name, state: 'lacks', detail: why ?? 'does not train', mend })
    }
  }
  if (engines.length === 0) {
    const detail = 'not set up; it trains several times faster than wasm'
    const mend = 'cxv engine add tensorflow'
    found.push({ group, name: 'tensorflow', state: 'could', detail, mend })
  }
  found.push({
    group,
    name: 'gpu',
    state: driver.ok ? 'ok' : 'could',
    detail: driver.detail,
    ...(driver.mend === undefined ? {} : { mend: driver.mend }),
  })
  if (driver.ok && !engines.some(({ cuda }) => cuda)) {
    const mend = 'cxv engine add tensorflow --cuda'
    found.push({ group, name: 'tensorflow-cuda', state: 'could', detail: 'not set up', mend })
  }
  return found
}

/** Facts that need no lock and no index: a doctor must also work on a broken repository. */
export function repositoryFindings({ cwd }: CommandContext): readonly Finding[] {
  const group = 'repository'
  let root = cwd
  while (!pathExists(join(root, '.cxv')) && dirname(root) !== root) root = dirname(root)
  const folder = join(root, '.cxv')
  if (!pathExists(folder)) {
    const detail = `${cwd} is in no repository`
    return [{ group, name: 'repository', state: 'ok', detail, mend: 'cxv init makes one here' }]
  }
  const packFolders = namesIn(join(folder, 'packs'))
  const packs = packFolders.reduce(
    (sum, name) => sum + namesIn(join(folder, 'packs', name)).length,
    0,
  )
  const bad = namesIn(join(folder, 'bad')).length
  const history = pathExists(join(folder, 'git', 'HEAD'))
  const config = pathExists(join(folder, 'config.json'))
  const part = (name: string, ok: boolean, detail: string, mend: string): Finding => ({
    group,
    name,
    state: ok ? 'ok' : 'lacks',
    detail,
    ...(ok ? {} : { mend }),
  })
  return [
    part(
      'repository',
      config,
      config ? root : `${folder} has no config.json`,
      'cxv fsck tells what is left',
    ),
    part('history', history, history ? 'present' : 'no HEAD in .cxv/git', 'cxv fsck'),
    part(
      'packs',
      true,
      `${plural(packs, 'pack')}, ${formatBytes(folderBytes(join(folder, 'packs')))}`,
      '',
    ),
    part(
      'damage',
      bad === 0,
      bad === 0
        ? 'nothing was set aside as damaged'
        : `${formatCount(bad)} damaged things set aside in ${join(folder, 'bad')}`,
      'cxv fsck',
    ),
  ]
}

async function firstLine(program: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout, stderr } = await runProgram(program, args, {
      signal: AbortSignal.timeout(10_000),
    })
    return `${stdout}${stderr}`.trim().split('\n')[0]
  } catch {
    return undefined
  }
}
