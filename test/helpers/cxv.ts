import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const BIN = fileURLToPath(new URL('../../../bin/cxv.js', import.meta.url))

export interface CxvRun {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  /** stdout as JSON, for runs with --json. */
  json(): Record<string, unknown>
}

/** Runs the real program. */
export function cxv(
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<CxvRun> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [BIN, ...args], {
      cwd,
      env: {
        ...process.env,
        CXV_AUTHOR_NAME: 'A. Tester',
        CXV_AUTHOR_EMAIL: 'a@example.org',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('error', reject)
    child.on('close', (status, signal) =>
      resolve({
        status,
        signal,
        stdout,
        stderr,
        json: () => JSON.parse(stdout) as Record<string, unknown>,
      }),
    )
  })
}

/** The same, and it must succeed. */
export async function cxvOk(
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<CxvRun> {
  const run = await cxv(args, cwd, env)
  if (run.status !== 0) {
    throw new Error(
      `cxv ${args.join(' ')}: ${run.status ?? run.signal}\n${run.stdout}${run.stderr}`,
    )
  }
  return run
}
