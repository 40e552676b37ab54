import { createHash } from 'node:crypto'
import { join } from 'node:path'
import {
  type Context,
  CxvError,
  isCxvError,
  isRecord,
  isRunId,
  parseJsonBytes,
  prettyJsonBytes,
  utf8,
} from '../base/index.ts'
import {
  decodeRemoteFormat,
  decodeRemoteRef,
  REMOTE_REF_MAX_BYTES,
  type RemoteFormat,
  type RemoteRef,
  refKey,
  refNameOfKey,
} from '../format/index.ts'
import { readFileIfAny, writeFileAtomic } from '../io/index.ts'
import type { Repository } from '../repo/types.ts'
import { forEachBounded } from './pool.ts'
import { concurrencyOf, remoteCache } from './remote.ts'
import type { Remote } from './types.ts'

export const FORMAT_KEY = 'cxv-remote.json'
const MAX_REFS = 200_000
const CACHE_MAX_BYTES = 64 << 20

export interface RemoteRefRow {
  readonly name: string
  readonly ref: RemoteRef
  readonly etag: string
}

/** What a remote says of itself. */
export interface RemoteState {
  /** Undefined: nothing was ever pushed there. */
  readonly format: RemoteFormat | undefined
  /** By full ref name. */
  readonly refs: ReadonlyMap<string, RemoteRefRow>
}

/** Two requests, and one for every ref that changed since the last time. @throws CxvError REMOTE_CORRUPT */
export async function readRemote(
  ctx: Context,
  repo: Repository,
  remote: Remote,
): Promise<RemoteState> {
  const { backend } = remote
  const found = await backend.get(FORMAT_KEY)
  if (found === undefined) return { format: undefined, refs: new Map() }
  const format = trusting(remote, FORMAT_KEY, () => decodeRemoteFormat(found.bytes))
  const cache = await readCache(repo, remote)
  const refs = new Map<string, RemoteRefRow>()
  const changed: { name: string; key: string }[] = []
  for await (const { key, size, etag } of backend.list('refs/')) {
    ctx.signal.throwIfAborted()
    const name = refNameOfKey(key)
    if (name === undefined || kindOfRef(name) === undefined) continue
    if (size > REMOTE_REF_MAX_BYTES || refs.size + changed.length >= MAX_REFS) {
      throw corrupt(remote, key, 'is too large')
    }
    const known = cache.get(key)
    if (known?.etag === etag) refs.set(name, { name, ref: known.ref, etag })
    else changed.push({ name, key })
  }
  await forEachBounded(changed, concurrencyOf(backend), async ({ name, key }) => {
    const got = await backend.get(key)
    if (got === undefined) return
    const ref = trusting(remote, key, () => decodeRemoteRef(got.bytes))
    refs.set(name, { name, ref, etag: got.etag })
  })
  if (changed.length > 0) writeCache(repo, remote, refs)
  return { format, refs }
}

export type RefKind = 'branch' | 'tag' | 'run' | 'model'

/** Only these travel; others on a remote are not looked at. */
export function kindOfRef(name: string): RefKind | undefined {
  if (name.startsWith('refs/heads/')) return 'branch'
  if (name.startsWith('refs/tags/')) return 'tag'
  if (name.startsWith('refs/models/')) return 'model'
  return name.startsWith('refs/runs/') && isRunId(name.slice('refs/runs/'.length))
    ? 'run'
    : undefined
}

/** An answer that does not decode is the remote's fault, and is named. */
export function trusting<T>(remote: Remote, key: string, decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    if (isCxvError(error, 'REPO_FORMAT') || !(error instanceof Error)) throw error
    throw corrupt(remote, key, `is damaged (${error.message})`, error)
  }
}

export const corrupt = (remote: Remote, key: string, why: string, cause?: unknown): CxvError =>
  new CxvError('REMOTE_CORRUPT', `${key} of the remote ${remote.name} ${why}`, {
    hint: 'on a machine that has the data, `cxv push --recheck` sends again what the remote lacks',
    data: { remote: remote.name, key },
    cause,
  })

export const sha256 = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex')

/** A new name for one push. */
export const newPushId = (ctx: Context): string => Buffer.from(ctx.random(16)).toString('hex')

interface CachedRef {
  readonly etag: string
  readonly ref: RemoteRef
}

const cachePath = (repo: Repository, remote: Remote): string =>
  join(remoteCache(repo, remote.name), 'refs.json')

async function readCache(repo: Repository, remote: Remote): Promise<Map<string, CachedRef>> {
  const cache = new Map<string, CachedRef>()
  try {
    const bytes = await readFileIfAny(cachePath(repo, remote), CACHE_MAX_BYTES)
    const value = bytes === undefined ? undefined : parseJsonBytes(bytes)
    if (!isRecord(value) || value['url'] !== remote.backend.url || !isRecord(value['refs'])) {
      return cache
    }
    for (const [key, row] of Object.entries(value['refs'])) {
      if (!isRecord(row) || typeof row['etag'] !== 'string') continue
      cache.set(key, {
        etag: row['etag'],
        ref: decodeRemoteRef(utf8(JSON.stringify(row['ref']))),
      })
    }
  } catch {
    // A cache: what cannot be read is asked for again.
    cache.clear()
  }
  return cache
}

function writeCache(
  repo: Repository,
  remote: Remote,
  refs: ReadonlyMap<string, RemoteRefRow>,
): void {
  const rows = [...refs.values()].map(({ name, ref, etag }) => [refKey(name), { etag, ref }])
  writeFileAtomic(
    cachePath(repo, remote),
    prettyJsonBytes({ url: remote.backend.url, refs: Object.fromEntries(rows) as unknown }),
  )
}
