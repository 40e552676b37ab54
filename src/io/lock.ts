import * as fs from 'node:fs'
import { type Context, CxvError, isRecord, parseJsonBytes, utf8 } from '../base/index.ts'
import { createFileExclusive, fileSystemError, readFileIfAny, temporaryBeside } from './fs.ts'
import { bootId, hostname, processAlive } from './host.ts'

export interface LockHolder {
  readonly pid: number
  readonly host: string
  readonly boot: string
  readonly what: string
  readonly since: number
}

export interface Lock {
  release(): void
}

const POLL_MS = 50
const SAY_EVERY_MS = 2_000

/**
 * Takes the lock file, waiting for a live holder. A holder whose process is gone on this boot of this
 * host is replaced at once: by rename to a private name first, so that two waiters cannot both win.
 * @param waitMs how long to wait for a live holder before giving up
 * @throws CxvError REPO_LOCKED, or the signal's reason when aborted
 */
export async function acquireLock(
  ctx: Context,
  path: string,
  what: string,
  waitMs: number,
): Promise<Lock> {
  const mine: LockHolder = {
    pid: process.pid,
    host: hostname(),
    boot: bootId(),
    what,
    since: ctx.now(),
  }
  const body = utf8(JSON.stringify(mine))
  const started = ctx.now()
  let saidAt = started
  for (;;) {
    ctx.signal.throwIfAborted()
    if (createFileExclusive(path, body)) return { release: () => releaseLock(path, body) }
    const bytes = await readFileIfAny(path, 4096)
    if (bytes === undefined) continue
    const holder = decodeHolder(bytes)
    if (holder === undefined ? lockAgeMs(path, ctx.now()) > 5_000 : isGone(holder)) {
      stealLock(path, bytes)
      continue
    }
    const waited = ctx.now() - started
    const who = holder
      ? `${holder.what} (process ${holder.pid} on ${holder.host})`
      : 'another process'
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
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

function isGone(holder: LockHolder): boolean {
  if (holder.host !== hostname()) return false
  return holder.boot !== bootId() || !processAlive(holder.pid)
}

function lockAgeMs(path: string, now: number): number {
  const stat = fs.statSync(path, { throwIfNoEntry: false })
  return stat === undefined ? 0 : now - stat.mtimeMs
}

function decodeHolder(bytes: Uint8Array): LockHolder | undefined {
  try {
    const value = parseJsonBytes(bytes)
    if (!isRecord(value)) return undefined
    const { pid, host, boot, what, since } = value
    if (typeof pid !== 'number' || typeof host !== 'string' || typeof boot !== 'string')
      return undefined
    return {
      pid,
      host,
      boot,
      what: typeof what === 'string' ? what : 'cxv',
      since: typeof since === 'number' ? since : 0,
    }
  } catch {
    return undefined
  }
}

/** Removes exactly the stale lock that was read: if someone else replaced it meanwhile, puts theirs back. */
function stealLock(path: string, seen: Uint8Array): void {
  const aside = temporaryBeside(path)
  try {
    fs.renameSync(path, aside)
  } catch {
    return
  }
  try {
    const taken = fs.readFileSync(aside)
    if (Buffer.compare(taken, seen) !== 0) fs.linkSync(aside, path)
  } catch {
    // Their lock could not be put back because a third process took the name: it waits for us or we for it.
  } finally {
    fs.rmSync(aside, { force: true })
  }
}

function releaseLock(path: string, body: Uint8Array): void {
  try {
    if (Buffer.compare(fs.readFileSync(path), body) === 0) fs.rmSync(path, { force: true })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return
    throw fileSystemError(error, path)
  }
}
