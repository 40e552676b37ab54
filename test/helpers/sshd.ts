import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, connect } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** A real sshd on a loopback port, with keys and settings of its own. */
export interface Sshd {
  readonly port: number
  readonly user: string
  /** `ssh://user@127.0.0.1:port/path` */
  url(path: string): string
  /** For the client: CXV_SSH_COMMAND (with this server's key and known hosts) and CXV_REMOTE_COMMAND. */
  readonly env: Readonly<Record<string, string>>
  /** The same with something in it changed. */
  envWith(change: {
    knownHosts?: 'empty'
    identity?: 'stranger'
    remote?: string
  }): Readonly<Record<string, string>>
  stop(): Promise<void>
}

const SSHD = '/usr/sbin/sshd'
const KEYGEN = 'ssh-keygen'
const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** Why there can be no sshd here, or undefined. */
export function sshdSkipReason(): string | undefined {
  if (!existsSync(SSHD)) return `${SSHD} is absent (Debian: openssh-server)`
  for (const program of ['ssh', KEYGEN]) {
    if (spawnSync(program, ['-V']).error !== undefined) return `${program} is absent`
  }
  return undefined
}

export async function startSshd(): Promise<Sshd> {
  const folder = await mkdtemp(join(tmpdir(), 'cxv-sshd-'))
  const user = userInfo().username
  const file = (name: string): string => join(folder, name)
  for (const name of ['host', 'client', 'stranger']) {
    const made = spawnSync(KEYGEN, ['-q', '-t', 'ed25519', '-N', '', '-f', file(name)])
    if (made.status !== 0) throw new Error(`ssh-keygen failed: ${made.stderr.toString()}`)
  }
  await writeFile(file('authorized'), await readFile(file('client.pub')))
  const port = await freePort()
  const hostKey = (await readFile(file('host.pub'), 'utf8')).split(' ').slice(0, 2).join(' ')
  await writeFile(file('known_hosts'), `[127.0.0.1]:${port} ${hostKey}\n`)
  await writeFile(file('no_hosts'), '')
  await writeFile(
    file('remote'),
    `#!/bin/sh\nexec "${process.execPath}" "${ROOT}bin/cxv.js" "$@"\n`,
  )
  await chmod(file('remote'), 0o755)
  await writeFile(
    file('config'),
    [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${file('host')}`,
      `AuthorizedKeysFile ${file('authorized')}`,
      `PidFile ${file('pid')}`,
      'StrictModes no',
      'UsePAM no',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'PermitRootLogin prohibit-password',
      'MaxStartups 100',
    ].join('\n'),
  )
  // Debian's sshd insists on this folder; making it needs root, which sshd for a test port does not.
  await mkdir('/run/sshd', { recursive: true }).catch(() => undefined)
  const child = spawn(SSHD, ['-D', '-e', '-f', file('config')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
  await untilListening(port, () => (child.exitCode === null ? undefined : said))
  const envWith: Sshd['envWith'] = (change) => {
    const identity = change.identity === 'stranger' ? 'stranger' : 'client'
    const hosts = change.knownHosts === 'empty' ? 'no_hosts' : 'known_hosts'
    return {
      CXV_SSH_COMMAND: `ssh -F none -i '${file(identity)}' -o IdentitiesOnly=yes -o IdentityAgent=none -o UserKnownHostsFile='${file(hosts)}' -o GlobalKnownHostsFile=none -o StrictHostKeyChecking=yes`,
      CXV_REMOTE_COMMAND: change.remote ?? file('remote'),
    }
  }
  return {
    port,
    user,
    url: (path) => `ssh://${user}@127.0.0.1:${port}${path}`,
    env: envWith({}),
    envWith,
    async stop() {
      child.kill()
      await new Promise((resolve) =>
        child.exitCode === null ? child.on('close', resolve) : resolve(0),
      )
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() =>
        typeof address === 'object' && address
          ? resolve(address.port)
          : reject(new Error('no port')),
      )
    })
  })
}

async function untilListening(port: number, dead: () => string | undefined): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const why = dead()
    if (why !== undefined) throw new Error(`sshd ended: ${why}`)
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => resolve(false))
    })
    if (open) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('sshd did not listen within 10 s')
}
