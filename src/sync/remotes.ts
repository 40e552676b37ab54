import { isAbsolute, relative, sep } from 'node:path'
import { openBackend, parseRemoteUrl } from '../backend/index.ts'
import type { Backend } from '../backend/types.ts'
import { type Context, CxvError, isCxvError, nearest, printable } from '../base/index.ts'
import { removePath } from '../io/index.ts'
import type { Repository } from '../repo/types.ts'
import type { CommandContextLike } from './context.ts'
import { checkRemoteName, remoteCache } from './remote.ts'
import { FORMAT_KEY } from './state.ts'

export interface RemoteRow {
  readonly name: string
  readonly url: string
  readonly isDefault: boolean
}

export async function listRemotes(repo: Repository): Promise<RemoteRow[]> {
  const { remotes, defaults } = await repo.config()
  return Object.entries(remotes)
    .map(([name, { url }]) => ({ name, url: printable(url), isDefault: name === defaults.remote }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** The URL as it is written down: a relative path means something else in another folder. */
export function lastingUrl(url: string, cwd: string): string {
  const address = parseRemoteUrl(url, cwd)
  return address.kind === 'file' && !/^file:/i.test(url) && !isAbsolute(url) ? address.path : url
}

/** `cxv add .` would take a remote in the work tree for images. @throws CxvError REMOTE_INVALID */
function refuseInside(root: string, url: string): void {
  const address = parseRemoteUrl(url, root)
  if (address.kind !== 'file') return
  const way = relative(root, address.path)
  if (way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way)) return
  throw new CxvError('REMOTE_INVALID', `${address.path} lies in this work tree`, {
    hint: 'a remote is a place of its own: choose a folder outside, at best on another disk',
    data: { path: address.path },
  })
}

export interface AddedRemote extends RemoteRow {
  /** Undefined when it could not be reached now. */
  readonly state: 'holds data' | 'empty' | undefined
}

/**
 * Writes a remote down; the first one is the default. It is asked whether it answers, and need not.
 * @throws CxvError REMOTE_INVALID, REMOTE_EXISTS
 */
export async function addRemote(
  ctx: CommandContextLike & { readonly cwd: string },
  repo: Repository,
  name: string,
  url: string,
): Promise<AddedRemote> {
  checkRemoteName(name)
  const kept = lastingUrl(url, ctx.cwd)
  refuseInside(repo.root, kept)
  const config = await repo.updateConfig((before) => {
    if (Object.hasOwn(before.remotes, name)) {
      throw new CxvError('REMOTE_EXISTS', `there is a remote "${name}" already`, {
        hint: `\`cxv remote remove ${name}\` first, or choose another name`,
        data: { remote: name },
      })
    }
    return {
      ...before,
      remotes: { ...before.remotes, [name]: { url: kept } },
      defaults: { ...before.defaults, remote: before.defaults.remote ?? name },
    }
  })
  const row = { name, url: printable(kept), isDefault: config.defaults.remote === name }
  try {
    const backend = await openBackend(ctx, kept, { cwd: repo.root, env: ctx.env })
    try {
      if (!backend.caps.compareAndSwap) {
        warn(
          ctx,
          'REMOTE_READ_ONLY',
          `${name} cannot compare and swap: it can be read, not pushed to`,
        )
      }
      const holds = (await backend.get(FORMAT_KEY)) !== undefined
      return { ...row, state: holds ? 'holds data' : 'empty' }
    } finally {
      await backend.close()
    }
  } catch (error) {
    if (!isCxvError(error)) throw error
    warn(
      ctx,
      error.code,
      `${name} is written down but does not answer: ${error.message}`,
      error.hint,
    )
    return { ...row, state: undefined }
  }
}

function warn(ctx: Context, code: string, message: string, hint?: string): void {
  ctx.emit({ type: 'warn', code, message, ...(hint === undefined ? {} : { hint }) })
}

/** Forgets a remote; what it holds and the branches fetched from it stay. @throws CxvError REMOTE_UNKNOWN */
export async function removeRemote(repo: Repository, name: string): Promise<void> {
  checkRemoteName(name)
  await repo.updateConfig((before) => {
    if (!Object.hasOwn(before.remotes, name)) {
      const near = nearest(name, Object.keys(before.remotes))
      throw new CxvError('REMOTE_UNKNOWN', `there is no remote "${name}"`, {
        hint: near === undefined ? '`cxv remote list` shows them' : `did you mean ${near}?`,
        data: { remote: name },
      })
    }
    const remotes = Object.fromEntries(Object.entries(before.remotes).filter(([n]) => n !== name))
    const { remote, ...defaults } = before.defaults
    const rest = Object.keys(remotes)
    const next = remote === name ? (rest.length === 1 ? rest[0] : undefined) : remote
    return {
      ...before,
      remotes,
      defaults: { ...defaults, ...(next === undefined ? {} : { remote: next }) },
    }
  })
  removePath(remoteCache(repo, name))
}

export interface CheckStep {
  readonly step: string
  readonly ok: boolean
  readonly detail: string
}

export interface RemoteCheck {
  readonly remote: string
  readonly url: string
  readonly ok: boolean
  readonly state: 'holds data' | 'empty'
  readonly roundTripMs: number
  readonly steps: readonly CheckStep[]
}

const ROUND_TRIPS = 5

/**
 * Tries on the real remote what sync rests on, under a name of its own which is removed again:
 * reading back, ranges, listing, deleting, and that of two conditional writes one loses.
 */
export async function checkRemote(
  ctx: Context,
  name: string,
  backend: Backend,
): Promise<RemoteCheck> {
  const prefix = `check/${Buffer.from(ctx.random(8)).toString('hex')}/`
  const times: number[] = []
  for (let i = 0; i < ROUND_TRIPS; i++) {
    const started = ctx.now()
    await backend.stat(FORMAT_KEY)
    times.push(ctx.now() - started)
  }
  const state = (await backend.get(FORMAT_KEY)) === undefined ? 'empty' : 'holds data'
  const steps: CheckStep[] = []
  if (backend.caps.write) {
    try {
      await trySteps(ctx, backend, prefix, steps)
    } finally {
      for (const key of ['a', 'b']) await backend.delete(prefix + key)
    }
  }
  const ok = backend.caps.write && backend.caps.compareAndSwap && steps.every((step) => step.ok)
  const detail = ok ? 'can be pushed to' : 'cannot be pushed to'
  steps.push({ step: 'compare and swap', ok, detail })
  return {
    remote: name,
    url: backend.url,
    ok,
    state,
    roundTripMs: times.sort((a, b) => a - b)[ROUND_TRIPS >> 1] ?? 0,
    steps,
  }
}

async function trySteps(
  ctx: Context,
  backend: Backend,
  prefix: string,
  steps: CheckStep[],
): Promise<void> {
  const attempt = async (step: string, work: () => Promise<boolean>): Promise<void> => {
    ctx.signal.throwIfAborted()
    try {
      const ok = await work()
      steps.push({ step, ok, detail: ok ? '' : 'not as it must be' })
    } catch (error) {
      if (!isCxvError(error)) throw error
      steps.push({ step, ok: false, detail: error.message })
    }
  }
  const loses = async (write: Promise<unknown>): Promise<boolean> => {
    try {
      await write
      return false
    } catch (error) {
      if (isCxvError(error, 'PRECONDITION_FAILED')) return true
      throw error
    }
  }
  const body = ctx.random(100_000)
  const key = `${prefix}a`
  let etag = ''
  await attempt('write', async () => {
    etag = (await backend.put(key, body, { ifMatch: null })).etag
    return true
  })
  await attempt('read back', async () => {
    const got = await backend.get(key)
    return got !== undefined && Buffer.compare(got.bytes, body) === 0
  })
  await attempt('read a range', async () => {
    const got = await backend.get(key, { offset: 50_000, length: 100 })
    return got !== undefined && Buffer.compare(got.bytes, body.subarray(50_000, 50_100)) === 0
  })
  await attempt('list', async () => {
    const keys: string[] = []
    for await (const info of backend.list(prefix)) keys.push(info.key)
    return keys.join() === key
  })
  await attempt('a second first write loses', () =>
    loses(backend.put(key, ctx.random(10), { ifMatch: null })),
  )
  await attempt('a write over another version loses', async () => {
    await backend.put(key, ctx.random(10), { ifMatch: etag })
    return loses(backend.put(key, ctx.random(10), { ifMatch: etag }))
  })
  await attempt('delete', async () => {
    await backend.delete(key)
    return (await backend.stat(key)) === undefined
  })
}
