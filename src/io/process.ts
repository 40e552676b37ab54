import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process'

export interface RunOutput {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly signal?: AbortSignal
  readonly input?: string
  /** Called with each chunk of stderr and stdout as it comes. */
  readonly onOutput?: (text: string) => void
  /** Keep at most this many characters of each stream (the last ones). */
  readonly keepChars?: number
  /** `latin1`: a character for each byte, whatever the bytes mean. Default: utf8. */
  readonly encoding?: 'utf8' | 'latin1'
}

/** Runs a program without a shell and collects what it prints. Rejects only when it cannot be started. */
export function runProgram(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunOutput> {
  return new Promise((resolve, reject) => {
    const keep = options.keepChars ?? 1 << 20
    const encoding = options.encoding ?? 'utf8'
    const child = spawn(program, [...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.env === undefined ? {} : { env: { ...process.env, ...options.env } }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding(encoding).on('data', (text: string) => {
      stdout = (stdout + text).slice(-keep)
      options.onOutput?.(text)
    })
    child.stderr.setEncoding(encoding).on('data', (text: string) => {
      stderr = (stderr + text).slice(-keep)
      options.onOutput?.(text)
    })
    child.on('error', reject)
    child.on('close', (status, signal) =>
      resolve({ status: status ?? (signal === null ? 1 : 128), stdout, stderr }),
    )
    child.stdin.on('error', () => undefined)
    child.stdin.end(options.input ?? '')
  })
}

/** Starts a program with pipes for a conversation over its stdin and stdout. */
export function startProgram(
  program: string,
  args: readonly string[],
  stdio: StdioOptions = ['pipe', 'pipe', 'pipe'],
  env?: Readonly<Record<string, string | undefined>>,
): ChildProcess {
  return spawn(program, [...args], {
    stdio,
    ...(env === undefined ? {} : { env: { ...process.env, ...env } }),
  })
}
