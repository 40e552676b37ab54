import { createCipheriv, createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import {
  fillMemory,
  machineFacts,
  markdownTable,
  measure,
  type Measured,
  settle,
  timeSkipReason,
  say,
} from './measure.ts'
import { CXV, cxvPeer, installDvc, type Peer, peers, type Step } from './peers.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

type SetName = 'A' | 'B'
const SETS = {
  A: { files: 5000, bytes: 400_000, perFolder: 500, what: '5,000 files of 400 KB' },
  B: { files: 112_120, bytes: 2_000, perFolder: 1000, what: '112,120 files of 2 KB' },
} as const

const STEPS: readonly Step[] = ['add', 'commit', 'status', 'status again', 'push', 'clone']
/**
 * With so much free disk nothing is removed before all have run: for minutes after many files were deleted,
 * ext4 passes over their inodes at each file it makes, and whoever runs next pays for it.
 */
const ROOMY_BYTES = 45e9

const remove = (folders: readonly string[]): void => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}

/** By tool, by step, one for each round. */
type Results = Map<string, Map<Step, Measured[]>>

/** The round of median time, with the largest memory of all; not ok unless all are. */
function typical(rounds: readonly Measured[] | undefined): Measured | undefined {
  const sorted = [...(rounds ?? [])].sort((a, b) => a.seconds - b.seconds)
  const middle = sorted[Math.floor((sorted.length - 1) / 2)]
  return (
    middle && {
      ...middle,
      peakMiB: Math.max(...sorted.map((m) => m.peakMiB)),
      ok: sorted.every((m) => m.ok),
    }
  )
}

function range(rounds: readonly Measured[] | undefined): string {
  const seconds = (rounds ?? []).map((m) => m.seconds)
  if (seconds.length < 2) return ''
  return ` [${Math.min(...seconds).toFixed(2)} to ${Math.max(...seconds).toFixed(2)}]`
}

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

/** Whether both hold the same files by name and size: a clone that brought nothing is no fast clone. */
function sameFiles(a: string, b: string): boolean {
  const sizes = (folder: string): string =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((e) => e.isFile())
      .map((e) => `${e.name} ${statSync(join(e.parentPath, e.name)).size}`)
      .sort()
      .join('\n')
  return existsSync(b) && sizes(a) === sizes(b)
}

/** @returns the folder of all it made */
function runPeer(peer: Peer, base: string, set: SetName, results: Map<Step, Measured[]>): string {
  fillMemory(base)
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
  for (const [step, command, cwd] of peer.run(work, env)) {
    settle()
    const ran = measure(command, cwd, env)
    const whole = step !== 'clone' || sameFiles(join(work, 'data'), join(work, peer.cloned))
    const measured = whole ? ran : { ...ran, ok: false, output: 'the clone lacks files' }
    results.set(step, [...(results.get(step) ?? []), measured])
    say(
      `  ${set} ${peer.name.padEnd(8)} ${step.padEnd(7)} ${measured.seconds.toFixed(2).padStart(8)} s  ${measured.peakMiB.toFixed(0).padStart(5)} MiB${measured.ok ? '' : `  FAILED: ${measured.output.trim().split('\n').at(-1) ?? ''}`}`,
    )
  }
  return top
}

interface Budget {
  readonly what: string
  readonly value: number
  readonly limit: number
  readonly unit: string
}

/** What a verb takes that opens a repository and finds nothing in it. */
function startUpSeconds(): number {
  const empty = mkdtempSync(join(tmpdir(), 'cxv-empty-'))
  measure([...CXV, 'init'], empty)
  // The least of three: the first reads modules that the peers' files drove out of the cache.
  const starts = [1, 2, 3].map(() => measure([...CXV, 'ls'], empty).seconds)
  rmSync(empty, { recursive: true })
  return Math.min(...starts)
}

function budgets(set: SetName, all: Results): readonly Budget[] {
  const seconds = (tool: string, step: Step): number => {
    const m = typical(all.get(tool)?.get(step))
    return m?.ok === true ? m.seconds : NaN
  }
  const ratio = (step: Step, tool: string): number => seconds('cxv', step) / seconds(tool, step)
  const startUp = startUpSeconds()
  const peak = Math.max(...[...(all.get('cxv')?.values() ?? [])].flat().map((m) => m.peakMiB))
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
        ...(['status', 'status again'] as const).map((step) => ({
          what: `unchanged ${step} beyond start-up`,
          value: seconds('cxv', step) - startUp,
          limit: 1,
          unit: ' s',
        })),
        clone,
        memory,
      ]
}

function tables(set: SetName, all: Results): string {
  const tools = [...all.keys()]
  const cell = (tool: string, step: Step): string => {
    const rounds = all.get(tool)?.get(step)
    const m = typical(rounds)
    if (m === undefined) return '-'
    if (!m.ok) return 'failed'
    const mine = typical(all.get('cxv')?.get(step))
    const ratio =
      tool === 'cxv' || mine?.ok !== true ? '' : ` (${(mine.seconds / m.seconds).toFixed(2)})`
    return `${m.seconds.toFixed(2)} s${range(rounds)}${ratio}, ${m.peakMiB.toFixed(0)} MiB`
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

const asJson = (all: Results): unknown =>
  Object.fromEntries(
    [...all].map(([tool, steps]) => [
      tool,
      Object.fromEntries(
        [...steps].map(([step, list]) => [
          step,
          list.map(({ seconds, cpuSeconds, peakMiB, ok }) => ({
            seconds,
            cpuSeconds,
            peakMiB,
            ok,
          })),
        ]),
      ),
    ]),
  )

export async function benchAdd(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      set: { type: 'string' },
      peers: { type: 'string' },
      rounds: { type: 'string', default: '1' },
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
  const rounds = Number(values.rounds)
  const load = loadavg()[0] ?? NaN
  const parent = process.env['CXV_BENCH_DIR'] ?? tmpdir()
  mkdirSync(parent, { recursive: true })
  const { bavail, bsize } = statfsSync(parent)
  if (bavail * bsize < 14e9 * scale) {
    say(`skipped: ${parent} has less than ${Math.ceil(14 * scale)} GB free`)
    return 2
  }
  const roomy = bavail * bsize >= ROOMY_BYTES * scale
  const base = mkdtempSync(join(parent, 'cxv-bench-'))
  const wanted = values.peers?.split(',')
  const chosen = peers(wanted?.includes('dvc') === false ? undefined : installDvc(base)).filter(
    (peer) => wanted?.includes(peer.name) ?? true,
  )
  const sets: readonly SetName[] =
    values.set === 'A' || values.set === 'B' ? [values.set] : ['A', 'B']
  const sections: string[] = []
  const figures: unknown[] = []
  try {
    for (const peer of chosen) if (peer.skip !== undefined) say(`skipped: ${peer.skip}`)
    const present = [cxvPeer, ...chosen.filter((peer) => peer.skip === undefined)]
    for (const set of sets) {
      say(`set ${set}: ${SETS[set].what}${scale === 1 ? '' : ` x ${scale}`}`)
      makeSet(join(base, `data-${set}`), set, scale)
      const all: Results = new Map(
        present.map((peer) => [peer.name, new Map<Step, Measured[]>()] as const),
      )
      // A whole round after the other: what the disk or a neighbour does meanwhile falls on all alike.
      for (let round = 0; round < rounds; round++) {
        const made: string[] = []
        for (const peer of present) {
          made.push(runPeer(peer, base, set, all.get(peer.name) ?? new Map()))
          if (!roomy) remove(made.splice(0))
        }
        remove(made)
      }
      sections.push(tables(set, all))
      figures.push({ set, ...SETS[set], scale, tools: asJson(all) })
      rmSync(join(base, `data-${set}`), { recursive: true })
      await Promise.resolve()
    }
    const facts = machineFacts()
    const versions = present.map((p) => p.version)
    const text = [
      '# Add, status, commit, push, clone against peers',
      '',
      `\`npm run bench -- add${argv.length > 0 ? ` ${argv.join(' ')}` : ''}\`: whole processes, one after the other in one run${rounds > 1 ? `, ${rounds} rounds, medians and [range]` : ''}, memory full of another file's pages before each tool's turn, each tool's data in the page cache, all dirty pages written back and six seconds waited before each${roomy ? '' : ', what a tool made deleted before the next'}. Peak memory is the largest single process. \`cp\` is \`cp -r\` and \`sync -f\`; cxv syncs what it stores itself, and its clone, by default, makes hard links of the packs of a remote on the same disk, where the others copy; restic's "status" is a second backup.`,
      '',
      `${facts}; load ${load.toFixed(1)} at the start; ${versions.join('; ')}.`,
      '',
      ...sections,
      '',
    ].join('\n')
    say(text)
    if (scale === 1 && wanted === undefined && values.set === undefined) {
      mkdirSync(join(ROOT, 'docs', 'bench'), { recursive: true })
      writeFileSync(join(ROOT, 'docs', 'bench', 'add.md'), text)
      const record = {
        date: new Date().toISOString(),
        machine: facts,
        load,
        versions,
        sets: figures,
      }
      writeFileSync(join(ROOT, 'docs', 'bench', 'add.json'), `${JSON.stringify(record, null, 1)}\n`)
    }
    return 0
  } finally {
    if (!values.keep) rmSync(base, { recursive: true, force: true })
  }
}
