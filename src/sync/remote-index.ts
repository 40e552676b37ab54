import { join } from 'node:path'
import {
  contentId,
  type ContentId,
  type Context,
  type PackId,
  startTask,
  toHex,
} from '../base/index.ts'
import {
  decodeFragment,
  type Fragment,
  FRAGMENT_MAX_BYTES,
  type FragmentPack,
  hashId,
  type ObjectKind,
} from '../format/index.ts'
import { readFileIfAny, writeFileAtomic } from '../io/index.ts'
import type { Repository } from '../repo/types.ts'
import { forEachBounded } from './pool.ts'
import { concurrencyOf, remoteCache } from './remote.ts'
import { corrupt, sha256, trusting } from './state.ts'
import type { Remote } from './types.ts'

/** A frame on a remote. */
export interface Located {
  readonly kind: ObjectKind
  /** Of the chunk, or of the content whose recipe it is. */
  readonly id: ContentId
  readonly pack: FragmentPack
  readonly offset: number
  readonly length: number
  readonly plainLength: number
}

/** All that a remote's fragments say, looked up by id without a request. */
export interface RemoteIndex {
  /** @param name the id in hex, where the caller has it: a string less for each of 100,000 frames */
  find(kind: ObjectKind, id: Uint8Array, name?: ContentId): Located | undefined
  /** The chunk of that id, else the recipe. */
  findContent(id: ContentId): Located | undefined
  /** Every pack that a fragment names. */
  readonly packs: ReadonlyMap<PackId, FragmentPack>
}

const FRAGMENT_KEY = /^index\/([0-9a-f]{64})\.idx$/
const MAX_FRAGMENTS = 20_000
/** About 20 million frames. */
const MAX_INDEX_BYTES = 1 << 30

export const fragmentKey = (id: string): string => `index/${id}.idx`
export const packKey = (id: PackId): string => `packs/${id.slice(0, 2)}/${id}.pack`

/** One request to list, one for each fragment not seen before. @throws CxvError REMOTE_CORRUPT */
export async function loadRemoteIndex(
  ctx: Context,
  repo: Repository,
  remote: Remote,
): Promise<readonly Fragment[]> {
  const ids: string[] = []
  let bytes = 0
  for await (const { key, size } of remote.backend.list('index/')) {
    const id = FRAGMENT_KEY.exec(key)?.[1]
    if (id === undefined) continue
    bytes += size
    if (size > FRAGMENT_MAX_BYTES || bytes > MAX_INDEX_BYTES || ids.length >= MAX_FRAGMENTS) {
      throw corrupt(remote, key, 'is too large')
    }
    ids.push(id)
  }
  const fragments: Fragment[] = []
  const absent: string[] = []
  for (const id of ids) {
    const cached = await readCached(repo, remote, id)
    if (cached === undefined) absent.push(id)
    else fragments.push(cached)
  }
  if (absent.length === 0) return fragments
  const task = startTask(ctx, `index of ${remote.name}`, 'packs', absent.length)
  try {
    await forEachBounded(absent, concurrencyOf(remote.backend), async (id) => {
      ctx.signal.throwIfAborted()
      const key = fragmentKey(id)
      const got = await remote.backend.get(key)
      if (got === undefined) throw corrupt(remote, key, 'vanished')
      if (sha256(got.bytes) !== id) throw corrupt(remote, key, 'has other bytes than its name says')
      fragments.push(trusting(remote, key, () => decodeFragment(got.bytes)))
      keepFragment(repo, remote, id, got.bytes)
      task.advance(1, got.bytes.length)
    })
  } finally {
    task.end()
  }
  return fragments
}

const cachedPath = (repo: Repository, remote: Remote, id: string): string =>
  join(remoteCache(repo, remote.name), 'index', `${id}.idx`)

async function readCached(
  repo: Repository,
  remote: Remote,
  id: string,
): Promise<Fragment | undefined> {
  try {
    const bytes = await readFileIfAny(cachedPath(repo, remote, id), FRAGMENT_MAX_BYTES)
    return bytes !== undefined && sha256(bytes) === id ? decodeFragment(bytes) : undefined
  } catch {
    return undefined
  }
}

export function keepFragment(
  repo: Repository,
  remote: Remote,
  id: string,
  bytes: Uint8Array,
): void {
  writeFileAtomic(cachedPath(repo, remote, id), bytes)
}

/**
 * One hash table over the entries of all fragments (open addressing): 4 bytes a slot, however many
 * fragments there are. Of a frame that is in several packs the first stands.
 * @param without packs that are not there after all
 */
export function indexFragments(
  fragments: readonly Fragment[],
  without: ReadonlySet<PackId> = new Set(),
): RemoteIndex {
  const bases: number[] = []
  let total = 0
  for (const fragment of fragments) {
    bases.push(total)
    total += fragment.count
  }
  const seed = globalThis.crypto.getRandomValues(new Uint32Array(1))[0] ?? 0
  const slots = new Uint32Array(2 ** Math.ceil(Math.log2(Math.max(16, total * 2))))
  const mask = slots.length - 1
  const packs = new Map<PackId, FragmentPack>()
  const fragmentOf = (global: number): number => {
    let low = 0
    let high = bases.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((bases[middle] ?? 0) <= global) low = middle
      else high = middle - 1
    }
    return low
  }
  const same = (stored: number, fragment: Fragment, i: number): boolean => {
    const other = fragmentOf(stored - 1)
    const { kind, id } = fragment.entry(i)
    return fragments[other]?.is(stored - 1 - (bases[other] ?? 0), kind, id) === true
  }
  fragments.forEach((fragment, f) => {
    const gone = fragment.packs.map((pack) => without.has(pack.id))
    for (const pack of fragment.packs) if (!without.has(pack.id)) packs.set(pack.id, pack)
    const base = bases[f] ?? 0
    for (let i = 0; i < fragment.count; i++) {
      if (gone[fragment.packOf(i)] === true) continue
      let slot = fragment.hashOf(i, seed) & mask
      while (slots[slot] !== 0 && !same(slots[slot] ?? 0, fragment, i)) slot = (slot + 1) & mask
      if (slots[slot] === 0) slots[slot] = base + i + 1
    }
  })

  const find = (kind: ObjectKind, id: Uint8Array, name?: ContentId): Located | undefined => {
    for (let slot = hashId(id, seed) & mask; ; slot = (slot + 1) & mask) {
      const stored = slots[slot] ?? 0
      if (stored === 0) return undefined
      const f = fragmentOf(stored - 1)
      const fragment = fragments[f]
      const index = stored - 1 - (bases[f] ?? 0)
      if (fragment?.is(index, kind, id) !== true) continue
      const { pack, offset, length, plainLength } = fragment.entry(index)
      const place = fragment.packs[pack]
      if (place === undefined) continue
      return { kind, id: name ?? contentId(toHex(id)), pack: place, offset, length, plainLength }
    }
  }
  return {
    packs,
    find,
    findContent(id) {
      const bytes = Buffer.from(id, 'hex')
      return find('chunk', bytes, id) ?? find('recipe', bytes, id)
    },
  }
}
