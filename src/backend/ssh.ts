import type { Readable } from 'node:stream'
import { type Context, CxvError, printable, systemCode } from '../base/index.ts'
import { startProgram } from '../io/index.ts'
import { type Line, lineLost, openStdioBackend } from './stdio.ts'
import type { Backend } from './types.ts'

export interface SshTarget {
  readonly url: string
  /** `host` or `user@host`. */
  readonly destination: string
  readonly port: number | undefined
  /** On the other machine; relative to the home folder unless it begins with `/`. */
  readonly path: string
}

type Environment = Readonly<Record<string, string | undefined>>

const KEPT_STDERR = 8192
const GOODBYE_MS = 3_000

/**
 * Talks to `cxv serve --stdio PATH` through the system's ssh, with the user's own ssh configuration.
 * `CXV_SSH_COMMAND` replaces the program (words, quotes allowed), `CXV_REMOTE_COMMAND` what is run
 * there. Both come from the environment only: a repository must not be able to name a program.
 */
export function openSshBackend(
  ctx: Context,
  target: SshTarget,
  env: Environment,
): Promise<Backend> {
  const [program = 'ssh', ...options] = splitWords(env['CXV_SSH_COMMAND'] ?? 'ssh')
  const remote = env['CXV_REMOTE_COMMAND'] ?? 'cxv'
  const args = [
    ...options,
    ...['-T', '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=20'],
    ...['-o', 'ServerAliveInterval=15', '-o', 'ServerAliveCountMax=4'],
    ...(target.port === undefined ? [] : ['-p', String(target.port)]),
    '--',
    target.destination,
    `${remote} serve --stdio ${quoteForShell(target.path)}`,
  ]
  let connected = false
  const dial = (): Line => {
    const child = startProgram(program, args)
    const { stdin, stdout, stderr } = child
    if (stdin === null || stdout === null || stderr === null) throw new Error('ssh without pipes')
    const words = keepLast(stderr)
    let startError: unknown
    const gone = new Promise<number | null>((resolve) => {
      child.on('error', (error) => {
        startError = error
        resolve(null)
      })
      child.on('close', (status) => resolve(status))
    })
    return {
      input: stdin,
      output: stdout,
      async why() {
        const status = await Promise.race([gone, later(GOODBYE_MS)])
        if (startError !== undefined) return sshMissing(program, startError)
        return explain(target, remote, status ?? null, words(), connected)
      },
      async end() {
        stdin.end()
        const ended = await Promise.race([gone.then(() => true), later(GOODBYE_MS)])
        if (ended !== true) child.kill()
      },
    }
  }
  return openStdioBackend(ctx, target.url, dial).then((backend) => {
    connected = true
    return backend
  })
}

const later = (ms: number): Promise<undefined> =>
  new Promise((resolve) => setTimeout(resolve, ms, undefined).unref())

function keepLast(stream: Readable): () => string {
  let text = ''
  stream.setEncoding('utf8').on('data', (piece: string) => {
    text = (text + piece).slice(-KEPT_STDERR)
  })
  return () => text
}

/** One word for a POSIX shell, whatever is in it. */
export const quoteForShell = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** Words parted by spaces; single and double quotes keep spaces, a backslash keeps the next character. */
export function splitWords(command: string): string[] {
  const words: string[] = []
  for (const match of command.matchAll(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/g)) {
    words.push(
      match[0].replace(
        /'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)/g,
        (_all, single?: string, double?: string, escaped?: string) =>
          single ?? double?.replace(/\\(.)/g, '$1') ?? escaped ?? '',
      ),
    )
  }
  return words
}

const sshMissing = (program: string, cause: unknown): CxvError =>
  new CxvError(
    'REMOTE_FAILED',
    systemCode(cause) === 'ENOENT'
      ? `the program ${program} is not installed`
      : `the program ${program} could not be started: ${String(cause)}`,
    {
      hint: 'install OpenSSH (`apt install openssh-client`), or use a remote that is a path',
      cause,
      data: { final: true },
    },
  )

/** What ssh's exit and its last words mean. Its own failures end with status 255. */
function explain(
  target: SshTarget,
  remote: string,
  status: number | null,
  stderr: string,
  connected: boolean,
): CxvError {
  const { url, destination } = target
  const at = target.port === undefined ? destination : `-p ${target.port} ${destination}`
  const said = printable(stderr.replaceAll('\r', '')).trim().split('\n').slice(-3).join('; ')
  const data = { status, final: true }
  if (
    /permission denied|too many authentication failures|no supported authentication/i.test(stderr)
  ) {
    return new CxvError('AUTH_FAILED', `${url}: ssh was not let in (${said})`, {
      hint: `try \`ssh ${at}\`: a key without a prompt (or ssh-agent) must work; \`ssh-copy-id ${at}\` installs yours`,
      data,
    })
  }
  if (
    /host key verification failed|host key is (not )?known|remote host identification/i.test(stderr)
  ) {
    return new CxvError(
      'AUTH_FAILED',
      `${url}: the host key is not known or has changed (${said})`,
      {
        hint: `run \`ssh ${at}\` once, compare the fingerprint with what its owner says, and accept it`,
        data,
      },
    )
  }
  if (status === 127 || /command not found|not found|no such file or directory/i.test(stderr)) {
    return new CxvError('REMOTE_FAILED', `${url}: \`${remote}\` was not found on the other side`, {
      hint: 'install cxv there, or say where it is: CXV_REMOTE_COMMAND=/path/to/cxv',
      data,
    })
  }
  if (connected) return lineLost(url)
  if (status === 255) {
    return new CxvError('REMOTE_FAILED', `${url} cannot be reached (${said || 'ssh failed'})`, {
      hint: `try \`ssh ${at}\``,
      data,
    })
  }
  return new CxvError(
    'REMOTE_FAILED',
    `${url}: \`${remote} serve\` ended with status ${status ?? 'unknown'}${said === '' ? '' : ` (${said})`}`,
    { hint: 'install the same version of cxv on both machines', data },
  )
}
