import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { type Context, CxvError, isRecord, parseJsonBytes, utf8 } from '../base/index.ts'
import { createFileExclusive, fileSystemError, readFileIfAny } from './fs.ts'
import { bootId, hostname, machineId, pidNamespace, processAlive } from './host.ts'

/** What is in a lock file, as JSON. @see docs/format.md#lock-files */
export interface LockHolder {
  readonly pid: number
  readonly host: string
  readonly boot: string
  /** Empty where the system has none. */
  readonly machine: string
  readonly pidNamespace: string
  readonly what: string
  readonly since: number
}

export interface Lock {
  release(): void
}

const POLL_MS = 50
const SAY_EVERY_MS = 2_000
/** Removing a stale lock takes no time: who is at it for longer was killed. */
const BREAK_MS = 60_000

/**
 * Takes the lock file, waiting for a live holder. One whose process is gone, as far as this process can
 * tell, is replaced at once; one it cannot see (another machine, another pid namespace) never is.
 * @param waitMs how long to wait for a live holder before giving up
 * @param beforeWaiting called once, if there is a holder to wait for
 * @throws CxvError REPO_LOCKED, or the signal's reason when aborted
 */
export async function acquireLock(
  ctx: Context,
  path: string,
  what: string,
  waitMs: number,
  beforeWaiting: () => Promise<void> = () => Promise.resolve(),
): Promise<Lock> {
  const mine: LockHolder = {
    pid: process.pid,
    host: hostname(),
    boot: bootId(),
    machine: machineId(),
    pidNamespace: pidNamespace(),
    what,
    since: ctx.now(),
  }
  const body = utf8(JSON.stringify(mine))
  const started = ctx.now()
  let saidAt = started
  let waiting = false
  for (;;) {
    ctx.signal.throwIfAborted()
    if (createFileExclusive(path, body)) return { release: () => removeIfSame(path, body) }
    const bytes = await readFileIfAny(path, 4096)
    if (bytes === undefined) continue
    const holder = decodeHolder(bytes)
    const gone = holder === undefined ? lockAgeMs(path, ctx.now()) > 5_000 : isGone(holder, mine)
    if (gone && breakLock(path, bytes, ctx.now())) continue
    const waited = ctx.now() - started
    const who = describeHolder(path, holder, mine)
    if (waited > waitMs) {
      throw new CxvError('REPO_LOCKED', `${path} is held by ${who}`, {
        hint: `wait for it to end; if it is gone for good, remove ${path}`,
        data: { path, ...(holder ?? {}), waitedMs: waited },
      })
    }
    if (ctx.now() - saidAt > SAY_EVERY_MS) {
      saidAt = ctx.now()
      ctx.emit({ type: 'wait', what, holder: who, waitedMs: waited })
    }
    if (!waiting) await beforeWaiting()
    waiting = true
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

/** Whether the process that wrote this is one that this process would see if it were alive. */
const isVisible = (holder: LockHolder, mine: LockHolder): boolean =>
  holder.host === mine.host &&
  holder.machine === mine.machine &&
  holder.pidNamespace === mine.pidNamespace &&
  // Another boot of this machine, or another machine of that name: only its id can tell.
  (holder.boot === mine.boot || mine.machine !== '')

const isGone = (holder: LockHolder, mine: LockHolder): boolean =>
  isVisible(holder, mine) && (holder.boot !== mine.boot || !processAlive(holder.pid))

function describeHolder(path: string, holder: LockHolder | undefined, mine: LockHolder): string {
  if (holder === undefined) return 'another process'
  const who = `${holder.what} (process ${holder.pid} on ${holder.host})`
  if (isVisible(holder, mine)) return who
  const where = holder.host === mine.host ? 'in another container or machine' : 'on another machine'
  return `${who} ${where}, which cannot be looked at from here: if it is gone, remove ${path}`
}

function lockAgeMs(path: string, now: number): number {
  const stat = fs.statSync(path, { throwIfNoEntry: false })
  return stat === undefined ? 0 : now - stat.mtimeMs
}

function decodeHolder(bytes: Uint8Array): LockHolder | undefined {
  try {
    const value = parseJsonBytes(bytes)
    if (!isRecord(value)) return undefined
    const { pid, host, boot, machine, pidNamespace: namespace, what, since } = value
    if (typeof pid !== 'number' || typeof host !== 'string' || typeof boot !== 'string')
      return undefined
    return {
      pid,
      host,
      boot,
      machine: typeof machine === 'string' ? machine : '',
      pidNamespace: typeof namespace === 'string' ? namespace : '',
      what: typeof what === 'string' ? what : 'cxv',
      since: typeof since === 'number' ? since : 0,
    }
  } catch {
    return undefined
  }
}

/**
 * Removes the stale lock that was read. One process at a time may do that to one lock, and it looks
 * again first: a waiter that read the same and comes late must not remove the lock of the next holder.
 * @returns whether another process is not at it
 */
function breakLock(path: string, seen: Uint8Array, now: number): boolean {
  const claim = `${path}.break-${createHash('sha256').update(seen).digest('hex').slice(0, 16)}`
  if (!createFileExclusive(claim, new Uint8Array())) {
    if (lockAgeMs(claim, now) > BREAK_MS) fs.rmSync(claim, { force: true })
    return false
  }
  try {
    removeIfSame(path, seen)
  } finally {
    fs.rmSync(claim, { force: true })
  }
  return true
}

function removeIfSame(path: string, body: Uint8Array): void {
  try {
    if (Buffer.compare(fs.readFileSync(path), body) === 0) fs.rmSync(path, { force: true })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return
    throw fileSystemError(error, path)
  }
}
