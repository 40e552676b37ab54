import { spawnSync } from 'node:child_process'
import { createCipheriv, createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import {
  commitFacts,
  machineFacts,
  markdownTable,
  measure,
  type Measured,
  settle,
  timeSkipReason,
} from './measure.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const CXV = [process.execPath, join(ROOT, 'bin', 'cxv.js')]

type SetName = 'A' | 'B'
const SETS = {
  A: { files: 5000, bytes: 400_000, perFolder: 500, what: '5,000 files of 400 KB' },
  B: { files: 112_120, bytes: 2_000, perFolder: 1000, what: '112,120 files of 2 KB' },
} as const

type Step = 'add' | 'status' | 'commit' | 'push' | 'clone'
const STEPS: readonly Step[] = ['add', 'status', 'commit', 'push', 'clone']
type Results = Map<string, Map<Step, Measured>>

const say = (text: string): void => void process.stdout.write(`${text}\n`)

/** Bytes that no compressor shrinks, as PNGs are; the same at every run. */
function makeSet(folder: string, set: SetName, scale: number): void {
  const { files, bytes, perFolder } = SETS[set]
  const key = createHash('sha256').update(`cxv bench ${set}`).digest()
  const stream = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
  const zeros = Buffer.alloc(bytes)
  const count = Math.max(10, Math.round(files * scale))
  for (let i = 0; i < count; i++) {
    const sub = join(folder, `images_${String(Math.floor(i / perFolder)).padStart(3, '0')}`)
    if (i % perFolder === 0) mkdirSync(sub, { recursive: true })
    writeFileSync(join(sub, `${String(i).padStart(8, '0')}_000.png`), stream.update(zeros))
  }
}

interface Peer {
  readonly name: string
  readonly skip?: string
  readonly version: string
  /** Runs the steps in its own folder, which holds the data as `data/`. */
  run(
    folder: string,
    env: Readonly<Record<string, string>>,
  ): Iterable<readonly [Step, readonly string[], string]>
}

const sh = (script: string): readonly string[] => ['sh', '-ec', script]

function versionOf(command: readonly string[]): string | undefined {
  const [program = '', ...args] = command
  const run = spawnSync(program, args, { encoding: 'utf8' })
  return run.status === 0 ? (run.stdout.trim().split('\n')[0] ?? '') : undefined
}

function absent(name: string, hint: string): Peer {
  return { name, skip: `${name} is absent (${hint})`, version: '', run: () => [] }
}

function peers(dvc: string | undefined): readonly Peer[] {
  const cp: Peer = {
    name: 'cp',
    version: 'cp -r, then sync -f',
    *run(folder) {
      yield ['add', sh('cp -r data copy && sync -f copy'), folder]
      yield ['clone', sh('cp -r copy copy2 && sync -f copy2'), folder]
    },
  }
  const resticVersion = versionOf(['restic', 'version'])
  const restic: Peer =
    resticVersion === undefined
      ? absent('restic', 'Debian: restic')
      : {
          name: 'restic',
          version: resticVersion,
          *run(folder) {
            spawnSync('restic', ['init', '-q', '-r', 'store'], {
              cwd: folder,
              env: { ...process.env, RESTIC_PASSWORD: 'x' },
            })
            yield ['add', ['restic', '-q', '-r', 'store', 'backup', 'data'], folder]
            yield ['status', ['restic', '-q', '-r', 'store', 'backup', 'data'], folder]
            yield [
              'clone',
              ['restic', '-q', '-r', 'store', 'restore', 'latest', '--target', 'copy'],
              folder,
            ]
          },
        }
  const lfsVersion = versionOf(['git-lfs', 'version'])
  const lfs: Peer =
    lfsVersion === undefined
      ? absent('git-lfs', 'Debian: git-lfs')
      : {
          name: 'git-lfs',
          version: lfsVersion,
          *run(folder, env) {
            spawnSync(
              'sh',
              [
                '-ec',
                'git init -q -b main . && git config user.name x && git config user.email x@y && git lfs install --local && git lfs track "*.png" && git add .gitattributes && git init -q --bare ../remote.git && git remote add origin "file://$PWD/../remote.git" && git config lfs.url "file://$PWD/../remote.git"',
              ],
              { cwd: folder, env: { ...process.env, ...env } },
            )
            yield ['add', ['git', 'add', 'data'], folder]
            yield ['commit', ['git', 'commit', '-qm', 'first'], folder]
            yield ['status', ['git', 'status'], folder]
            yield ['push', ['git', 'push', '-q', 'origin', 'main'], folder]
            yield [
              'clone',
              sh('git lfs install && git clone -q "file://$PWD/../remote.git" ../clone'),
              folder,
            ]
          },
        }
  const dvcPeer: Peer =
    dvc === undefined
      ? absent('dvc', 'PyPI could not be reached')
      : {
          name: 'dvc',
          version: `DVC ${versionOf([dvc, '--version']) ?? ''}`,
          *run(folder, env) {
            spawnSync(
              'sh',
              [
                '-ec',
                `git init -q -b main . && git config user.name x && git config user.email x@y && "${dvc}" init -q && "${dvc}" config core.analytics false && mkdir ../remote && "${dvc}" remote add -q -d r "$PWD/../remote"`,
              ],
              { cwd: folder, env: { ...process.env, ...env } },
            )
            yield ['add', [dvc, 'add', '-q', 'data'], folder]
            yield ['status', [dvc, 'status', '-q'], folder]
            yield ['commit', sh('git add -A && git commit -qm first'), folder]
            yield ['push', [dvc, 'push', '-q'], folder]
            yield [
              'clone',
              sh(`git clone -q . ../clone && cd ../clone && "${dvc}" pull -q`),
              folder,
            ]
          },
        }
  return [cp, restic, lfs, dvcPeer]
}

const cxvPeer: Peer = {
  name: 'cxv',
  version: `cxv at ${commitFacts()}`,
  *run(folder) {
    spawnSync(CXV[0] ?? '', [CXV[1] ?? '', 'init'], { cwd: folder })
    spawnSync(CXV[0] ?? '', [CXV[1] ?? '', 'remote', 'add', 'r', join(folder, '..', 'remote')], {
      cwd: folder,
    })
    yield ['add', [...CXV, 'add', 'data'], folder]
    yield ['commit', [...CXV, 'commit', '-m', 'first'], folder]
    yield ['status', [...CXV, 'status'], folder]
    yield ['push', [...CXV, 'push'], folder]
    yield [
      'clone',
      [...CXV, 'clone', join(folder, '..', 'remote'), join(folder, '..', 'clone')],
      folder,
    ]
  },
}

/** DVC in a virtual environment of the bench's own. */
function installDvc(folder: string): string | undefined {
  const given = process.env['CXV_BENCH_DVC']
  if (given !== undefined && existsSync(given)) return given
  const venv = join(folder, 'venv')
  say('installing DVC from PyPI into a virtual environment')
  const made = spawnSync('python3', ['-m', 'venv', venv])
  if (made.status !== 0) return undefined
  const installed = spawnSync(join(venv, 'bin', 'pip'), ['install', '-q', 'dvc'], {
    timeout: 600_000,
  })
  return installed.status === 0 ? join(venv, 'bin', 'dvc') : undefined
}

function runPeer(peer: Peer, base: string, set: SetName): Map<Step, Measured> {
  const top = join(base, `${peer.name}-${set}`)
  const work = join(top, 'work')
  const home = join(top, 'home')
  mkdirSync(work, { recursive: true })
  mkdirSync(home)
  cpSync(join(base, `data-${set}`), join(work, 'data'), { recursive: true })
  const env = {
    HOME: home,
    RESTIC_PASSWORD: 'x',
    GIT_CONFIG_GLOBAL: join(home, 'gitconfig'),
    CXV_AUTHOR_NAME: 'bench',
    CXV_AUTHOR_EMAIL: 'bench@localhost',
  }
  const results = new Map<Step, Measured>()
  for (const [step, command, cwd] of peer.run(work, env)) {
    settle()
    const measured = measure(command, cwd, env)
    results.set(step, measured)
    say(
      `  ${set} ${peer.name.padEnd(8)} ${step.padEnd(7)} ${measured.seconds.toFixed(2).padStart(8)} s  ${measured.peakMiB.toFixed(0).padStart(5)} MiB${measured.ok ? '' : `  FAILED: ${measured.output.trim().split('\n').at(-1) ?? ''}`}`,
    )
  }
  rmSync(top, { recursive: true, force: true })
  return results
}

interface Budget {
  readonly what: string
  readonly value: number
  readonly limit: number
  readonly unit: string
}

function budgets(set: SetName, all: Results): readonly Budget[] {
  const seconds = (tool: string, step: Step): number => {
    const m = all.get(tool)?.get(step)
    return m?.ok === true ? m.seconds : NaN
  }
  const ratio = (step: Step, tool: string): number => seconds('cxv', step) / seconds(tool, step)
  const startUp = measure([...CXV, 'ls', '--help'], tmpdir()).seconds
  const peak = Math.max(...[...(all.get('cxv')?.values() ?? [])].map((m) => m.peakMiB))
  const clone = {
    what: 'clone with checkout / DVC',
    value: ratio('clone', 'dvc'),
    limit: 0.5,
    unit: 'x',
  }
  const memory = { what: 'peak memory of any cxv command', value: peak, limit: 400, unit: ' MiB' }
  return set === 'A'
    ? [
        { what: 'add / cp -r with data on disk', value: ratio('add', 'cp'), limit: 1.2, unit: 'x' },
        { what: 'add / DVC', value: ratio('add', 'dvc'), limit: 0.5, unit: 'x' },
        clone,
        memory,
      ]
    : [
        { what: 'add / DVC', value: ratio('add', 'dvc'), limit: 0.15, unit: 'x' },
        {
          what: 'unchanged status beyond start-up',
          value: seconds('cxv', 'status') - startUp,
          limit: 1,
          unit: ' s',
        },
        clone,
        memory,
      ]
}

function tables(set: SetName, all: Results): string {
  const tools = [...all.keys()]
  const cell = (tool: string, step: Step): string => {
    const m = all.get(tool)?.get(step)
    if (m === undefined) return '-'
    if (!m.ok) return 'failed'
    const mine = all.get('cxv')?.get(step)
    const ratio =
      tool === 'cxv' || mine?.ok !== true ? '' : ` (${(mine.seconds / m.seconds).toFixed(2)})`
    return `${m.seconds.toFixed(2)} s${ratio}, ${m.peakMiB.toFixed(0)} MiB`
  }
  const rows = STEPS.map((step) => [step, ...tools.map((tool) => cell(tool, step))])
  const reach = budgets(set, all).map(({ what, value, limit, unit }) => [
    what,
    Number.isNaN(value) ? 'not measured' : `${value.toFixed(2)}${unit}`,
    `at most ${limit}${unit}`,
    Number.isNaN(value) ? '-' : value <= limit ? 'reached' : 'not reached',
  ])
  return [
    `## ${set}: ${SETS[set].what}`,
    '',
    'In brackets: cxv / peer, below 1 is faster.',
    '',
    markdownTable(['step', ...tools], rows),
    '',
    markdownTable(['budget', 'measured', 'limit', ''], reach),
  ].join('\n')
}

export async function benchAdd(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      set: { type: 'string' },
      peers: { type: 'string' },
      scale: { type: 'string', default: '1' },
      keep: { type: 'boolean', default: false },
    },
  })
  const skip = timeSkipReason()
  if (skip !== undefined) {
    say(`skipped: ${skip}`)
    return 2
  }
  const scale = Number(values.scale)
  const parent = process.env['CXV_BENCH_DIR'] ?? tmpdir()
  mkdirSync(parent, { recursive: true })
  const { bavail, bsize } = statfsSync(parent)
  if (bavail * bsize < 14e9 * scale) {
    say(`skipped: ${parent} has less than ${Math.ceil(14 * scale)} GB free`)
    return 2
  }
  const base = mkdtempSync(join(parent, 'cxv-bench-'))
  const wanted = values.peers?.split(',')
  const chosen = peers(wanted?.includes('dvc') === false ? undefined : installDvc(base)).filter(
    (peer) => wanted?.includes(peer.name) ?? true,
  )
  const sets: readonly SetName[] =
    values.set === 'A' || values.set === 'B' ? [values.set] : ['A', 'B']
  const sections: string[] = []
  try {
    for (const peer of chosen) if (peer.skip !== undefined) say(`skipped: ${peer.skip}`)
    const present = [cxvPeer, ...chosen.filter((peer) => peer.skip === undefined)]
    for (const set of sets) {
      say(`set ${set}: ${SETS[set].what}${scale === 1 ? '' : ` x ${scale}`}`)
      makeSet(join(base, `data-${set}`), set, scale)
      const all: Results = new Map(present.map((peer) => [peer.name, runPeer(peer, base, set)]))
      sections.push(tables(set, all))
      rmSync(join(base, `data-${set}`), { recursive: true })
      await Promise.resolve()
    }
    const text = [
      '# Add, status, commit, push, clone against peers',
      '',
      `\`npm run bench -- add${argv.length > 0 ? ` ${argv.join(' ')}` : ''}\`: whole processes, one after the other in one run, data in the page cache, all dirty pages written back before each. Peak memory is the largest single process. \`cp\` is \`cp -r\` and \`sync -f\`; cxv syncs what it stores itself; restic's "status" is a second backup.`,
      '',
      `${machineFacts()}; ${present.map((p) => p.version).join('; ')}.`,
      '',
      ...sections,
      '',
    ].join('\n')
    say(text)
    if (scale === 1 && wanted === undefined && values.set === undefined) {
      mkdirSync(join(ROOT, 'docs', 'bench'), { recursive: true })
      writeFileSync(join(ROOT, 'docs', 'bench', 'add.md'), text)
    }
    return 0
  } finally {
    if (!values.keep) rmSync(base, { recursive: true, force: true })
  }
}
