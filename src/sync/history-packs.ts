import { join } from 'node:path'
import {
  type CommitId,
  type Context,
  CxvError,
  isCxvError,
  isSha256,
  parseJsonBytes,
  prettyJsonBytes,
  startTask,
  type Task,
} from '../base/index.ts'
import {
  decodeHistoryPack,
  decodeHistoryPackHead,
  encodeHistoryPack,
  HISTORY_PACK_PROBE_BYTES,
} from '../format/index.ts'
import type { History } from '../history/types.ts'
import { readFileIfAny, writeFileAtomic } from '../io/index.ts'
import type { Repository } from '../repo/types.ts'
import { parentsFirst } from './commits.ts'
import { forEachBounded } from './pool.ts'
import { concurrencyOf, remoteCache } from './remote.ts'
import { corrupt, sha256, trusting } from './state.ts'
import type { Remote } from './types.ts'

const KEY = /^git\/([0-9a-f]{64})\.pack$/
const PACK_MAX_BYTES = 64 << 20
const MAX_PACKS = 100_000
const KNOWN_MAX_BYTES = 64 << 20

const keyOf = (id: string): string => `git/${id}.pack`

/** Sends what the commits bring. @param commits those the remote lacks, with their parents */
export async function uploadHistory(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  commits: ReadonlyMap<CommitId, readonly CommitId[]>,
): Promise<number> {
  if (commits.size === 0) return 0
  let bytes = 0
  const known = await readKnown(repo, remote)
  for (const file of await exportHistory(repo.history, commits)) {
    ctx.signal.throwIfAborted()
    const id = sha256(file)
    await remote.backend.put(keyOf(id), file)
    known.add(id)
    bytes += file.length
  }
  writeKnown(repo, remote, known)
  return bytes
}

/** One file; more when it would be larger than a remote's object may be. */
async function exportHistory(
  history: History,
  commits: ReadonlyMap<CommitId, readonly CommitId[]>,
): Promise<Uint8Array[]> {
  const bases = [...new Set([...commits.values()].flat())].filter((id) => !commits.has(id))
  const inner = new Set([...commits.values()].flat())
  const tips = [...commits.keys()].filter((id) => !inner.has(id))
  const all = [...commits.keys()]
  const pack = await history.exportPack(all, bases).catch((error: unknown) => {
    if (isCxvError(error, 'TOO_LARGE') && all.length > 1) return null
    throw error
  })
  if (pack === undefined) return []
  if (pack !== null && pack.length <= PACK_MAX_BYTES)
    return [encodeHistoryPack({ tips, bases, pack })]
  if (all.length === 1) {
    throw new CxvError('TOO_LARGE', 'the history of one commit is too large to be pushed', {
      data: { commit: all[0] },
    })
  }
  const order = parentsFirst(commits)
  const half = (from: number, to: number): Map<CommitId, readonly CommitId[]> =>
    new Map(order.slice(from, to).map((id) => [id, commits.get(id) ?? []]))
  const middle = order.length >> 1
  return [
    ...(await exportHistory(history, half(0, middle))),
    ...(await exportHistory(history, half(middle, order.length))),
  ]
}

interface Probed {
  readonly id: string
  readonly size: number
  readonly tips: readonly CommitId[]
  readonly bases: readonly CommitId[]
  /** All of it, when the first bytes were all. */
  readonly file: Uint8Array | undefined
}

/**
 * Brings the commits and all they reach. The history room refuses a pack with holes, so what is here
 * is whole; packs are taken bases first. What the remote's packs do not bring is still absent afterwards.
 * @throws CxvError REMOTE_CORRUPT
 */
export async function downloadHistory(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  wanted: readonly CommitId[],
): Promise<void> {
  const { history } = repo
  let lacking = await lackingOf(history, wanted)
  if (lacking.length === 0) return
  const known = await readKnown(repo, remote)
  const task = startTask(ctx, `history of ${remote.name}`, 'packs')
  const take = async (pack: Probed): Promise<void> => {
    await takePack(ctx, repo, remote, pack, task)
    known.add(pack.id)
  }
  try {
    // Packs taken before are not looked at; unless that does not do (the list is only a cache).
    for (const forget of [false, true]) {
      if (forget) known.clear()
      const probed = await probeUnknown(ctx, remote, known)
      for (const pack of needed(probed, lacking)) await take(pack)
      lacking = await lackingOf(history, wanted)
      if (lacking.length === 0) return
      // A commit may be in the middle of another pack.
      for (const pack of basesFirst(probed)) if (!known.has(pack.id)) await take(pack)
      lacking = await lackingOf(history, wanted)
      if (lacking.length === 0) return
    }
  } finally {
    task.end()
    writeKnown(repo, remote, known)
  }
}

/** Brings every history pack of the remote, taken before or not: after a repair left holes here. */
export async function downloadAllHistory(
  ctx: Context,
  repo: Repository,
  remote: Remote,
): Promise<void> {
  const task = startTask(ctx, `history of ${remote.name}`, 'packs')
  try {
    const probed = await probeUnknown(ctx, remote, new Set())
    for (const pack of basesFirst(probed)) await takePack(ctx, repo, remote, pack, task)
  } finally {
    task.end()
  }
}

async function takePack(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  pack: Probed,
  task: Task,
): Promise<void> {
  ctx.signal.throwIfAborted()
  const key = keyOf(pack.id)
  const file = pack.file ?? (await getFile(remote, key, pack.size))
  if (sha256(file) !== pack.id) throw corrupt(remote, key, 'has other bytes than its name says')
  const content = trusting(remote, key, () => decodeHistoryPack(file))
  await importing(remote, key, () => repo.history.importPack(content.pack))
  task.advance(1, file.length)
}

async function importing(remote: Remote, key: string, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!isCxvError(error, 'FORMAT_INVALID')) throw error
    throw corrupt(remote, key, `does not fit (${error.message})`, error)
  }
}

async function lackingOf(history: History, wanted: readonly CommitId[]): Promise<CommitId[]> {
  const lacking: CommitId[] = []
  for (const id of wanted) if (!(await history.has(id))) lacking.push(id)
  return lacking
}

/** The heads of packs that were not taken before; small ones come whole with the same request. */
async function probeUnknown(
  ctx: Context,
  remote: Remote,
  known: ReadonlySet<string>,
): Promise<Probed[]> {
  const unknown: { id: string; size: number }[] = []
  for await (const { key, size } of remote.backend.list('git/')) {
    const id = KEY.exec(key)?.[1]
    if (id === undefined || known.has(id)) continue
    if (size > PACK_MAX_BYTES + (1 << 20) || unknown.length >= MAX_PACKS) {
      throw corrupt(remote, key, 'is too large')
    }
    unknown.push({ id, size })
  }
  const probed: Probed[] = []
  await forEachBounded(unknown, concurrencyOf(remote.backend), async ({ id, size }) => {
    ctx.signal.throwIfAborted()
    const key = keyOf(id)
    const length = Math.min(size, HISTORY_PACK_PROBE_BYTES)
    const got = await remote.backend.get(key, { offset: 0, length })
    if (got === undefined) return
    let file = length === size ? got.bytes : undefined
    let head = trusting(remote, key, () => decodeHistoryPackHead(got.bytes))
    if (head === undefined) {
      file = await getFile(remote, key, size)
      const whole = file
      head = trusting(remote, key, () => decodeHistoryPackHead(whole))
    }
    if (head === undefined) throw corrupt(remote, key, 'is cut off')
    probed.push({ id, size, tips: head.tips, bases: head.bases, file })
  })
  return probed
}

async function getFile(remote: Remote, key: string, size: number): Promise<Uint8Array> {
  const got = await remote.backend.get(key)
  if (got === undefined) throw corrupt(remote, key, 'vanished')
  if (got.bytes.length !== size) throw corrupt(remote, key, 'has another length than was listed')
  return got.bytes
}

/** The packs that bring these commits, with those that bring their bases, bases first. */
function needed(probed: readonly Probed[], wanted: readonly CommitId[]): Probed[] {
  const byTip = new Map<CommitId, Probed>()
  for (const pack of probed) for (const tip of pack.tips) byTip.set(tip, pack)
  const chosen = new Set<Probed>()
  const open = [...wanted]
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    const pack = byTip.get(id)
    if (pack === undefined || chosen.has(pack)) continue
    chosen.add(pack)
    open.push(...pack.bases)
  }
  return basesFirst([...chosen])
}

/** A pack after every pack that brings one of its bases. (Circles cannot be sound; they end somewhere.) */
function basesFirst(packs: readonly Probed[]): Probed[] {
  const byTip = new Map<CommitId, Probed>()
  for (const pack of packs) for (const tip of pack.tips) byTip.set(tip, pack)
  const order: Probed[] = []
  const state = new Map<Probed, 'open' | 'done'>()
  for (const start of packs) {
    const stack = [start]
    for (let pack = stack.at(-1); pack !== undefined; pack = stack.at(-1)) {
      if (state.get(pack) === undefined) {
        state.set(pack, 'open')
        for (const base of pack.bases) {
          const below = byTip.get(base)
          if (below !== undefined && state.get(below) === undefined) stack.push(below)
        }
      } else {
        stack.pop()
        if (state.get(pack) === 'open') order.push(pack)
        state.set(pack, 'done')
      }
    }
  }
  return order
}

const knownPath = (repo: Repository, remote: Remote): string =>
  join(remoteCache(repo, remote.name), 'history-packs.json')

/** Names of history packs whose objects are here. */
async function readKnown(repo: Repository, remote: Remote): Promise<Set<string>> {
  try {
    const bytes = await readFileIfAny(knownPath(repo, remote), KNOWN_MAX_BYTES)
    const value = bytes === undefined ? [] : parseJsonBytes(bytes)
    if (!Array.isArray(value)) return new Set()
    return new Set(value.filter((id): id is string => typeof id === 'string' && isSha256(id)))
  } catch {
    return new Set()
  }
}

const writeKnown = (repo: Repository, remote: Remote, known: ReadonlySet<string>): void =>
  writeFileAtomic(knownPath(repo, remote), prettyJsonBytes([...known].sort()))
