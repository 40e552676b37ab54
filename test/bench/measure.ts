import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'

export interface Measured {
  readonly seconds: number
  readonly cpuSeconds: number
  /** Largest resident memory of any one process, MiB. */
  readonly peakMiB: number
  readonly ok: boolean
  readonly output: string
}

const TIME = '/usr/bin/time'

export const timeSkipReason = (): string | undefined =>
  existsSync(TIME) ? undefined : `${TIME} is absent (Debian: time)`

/** Runs a command as a whole process under time(1). */
export function measure(
  command: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Measured {
  const report = join(tmpdir(), `cxv-bench-time-${process.pid}`)
  const start = performance.now()
  const run = spawnSync(TIME, ['-q', '-o', report, '-f', '%U %S %M', ...command], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 1 << 28,
  })
  const seconds = (performance.now() - start) / 1000
  const line = existsSync(report)
    ? (readFileSync(report, 'utf8').trim().split('\n').at(-1) ?? '')
    : ''
  rmSync(report, { force: true })
  const [user = NaN, system = NaN, rss = NaN] = line.split(' ').map(Number)
  return {
    seconds,
    cpuSeconds: user + system,
    peakMiB: rss / 1024,
    ok: run.status === 0,
    output: `${run.stdout}${run.stderr}`.slice(-2000),
  }
}

const PAUSE_SECONDS = 6

/**
 * Makes the commands equal: all dirty pages are written back, and what an earlier one freed is old. A
 * virtual machine gives freed memory back to its host within seconds and pays to get it again (measured:
 * the same `cp -r` of 2 GB took 1.5 s right after a large deletion and 6 s otherwise), so without the pause
 * whoever follows a deletion is spared that.
 */
export function settle(): void {
  spawnSync('sync')
  spawnSync('sleep', [String(PAUSE_SECONDS)])
}

/**
 * Fills the page cache with another file's pages, as after days of work, so every new page takes the place of an
 * old one. A virtual machine may have given free pages back to its host, and pays up to 2.5 s a GB for them: who
 * pays, chance would decide.
 * @param folder where a file without blocks may stand
 */
export function fillMemory(folder: string): void {
  spawnSync('sync')
  const filler = join(folder, 'filler')
  if (!existsSync(filler)) {
    writeFileSync(filler, '')
    truncateSync(filler, totalmem())
  }
  // Twice: pages that were read once give way to others of their own kind first.
  for (let i = 0; i < 2; i++) spawnSync('sh', ['-c', 'cat "$1" > /dev/null', 'sh', filler])
}

export function machineFacts(): string {
  const cpu = cpus()
  return `${cpu.length} x ${cpu[0]?.model.trim() ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release().split('.').slice(0, 2).join('.')}, Node ${process.versions.node}`
}

export function commitFacts(): string {
  const git = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' })
  return git.status === 0 ? git.stdout.trim() : 'unknown'
}

/** A markdown table. */
export function markdownTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  return [
    `| ${head.join(' | ')} |`,
    `|${head.map(() => '---').join('|')}|`,
    ...rows.map((row) => `| ${row.join(' | ')} |`),
  ].join('\n')
}

export const say = (text: string): void => void process.stdout.write(`${text}\n`)
