import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import {
  availableParallelism,
  cpus,
  freemem,
  homedir,
  hostname,
  loadavg,
  platform,
  release,
  totalmem,
  userInfo as osUser,
} from 'node:os'
import { isRecord } from '../base/index.ts'

export { homedir, hostname }

/** The login name, or `unknown` where the system has none for this user id. */
export function userName(): string {
  try {
    return osUser().username
  } catch {
    return 'unknown'
  }
}

let boot: string | undefined

/** Changes at every boot of this machine, so that a process id can be told from one before a crash. */
export function bootId(): string {
  if (boot === undefined) {
    try {
      boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    } catch {
      boot = `${hostname()}-unknown-boot`
    }
  }
  return boot
}

let machine: string | undefined

/**
 * Tells this installation of a system from others that have its host name; empty where it has no
 * machine-id(5). Hashed: that file's text is not to be shown to others.
 */
export function machineId(): string {
  if (machine === undefined) {
    try {
      const id = readFileSync('/etc/machine-id', 'utf8').trim()
      machine = id === '' ? '' : createHash('sha256').update(`cxv ${id}`).digest('hex').slice(0, 16)
    } catch {
      machine = ''
    }
  }
  return machine
}

/** Which process ids this process sees (pid_namespaces(7)); empty where a system has one kind only. */
export function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return ''
  }
}

/** Whether the process is alive on this machine (EPERM: alive, another user's). */
export function processAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/**
 * When the process started, in clock ticks since boot (proc(5), field 22 of stat): together with its id
 * it names one process, since ids come round again. Undefined where the system does not tell.
 */
export function processStart(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the program's name, in brackets, and may hold blanks and brackets.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

export interface HardwareFacts {
  readonly host: string
  readonly os: string
  readonly cpu: string
  readonly cores: number
  readonly memoryBytes: number
  readonly freeMemoryBytes: number
  readonly load: number
}

export function hardwareFacts(): HardwareFacts {
  return {
    host: hostname(),
    os: `${platform()} ${release()}`,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    freeMemoryBytes: freemem(),
    load: loadavg()[0] ?? 0,
  }
}

/** The version of this program: package.json's. */
export function cxvVersion(): string {
  const found: unknown = createRequire(import.meta.url)('../../../package.json')
  return isRecord(found) && typeof found['version'] === 'string' ? found['version'] : 'unknown'
}
