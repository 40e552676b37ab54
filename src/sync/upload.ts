import {
  concatBytes,
  type Context,
  type ContentId,
  CxvError,
  isCxvError,
  type PackId,
  startTask,
  toHex,
} from '../base/index.ts'
import {
  createPackNamer,
  decodePackHeader,
  decodeTable,
  encodeFragment,
  encodePackHeader,
  encodeTable,
  FRAME_HEADER_BYTES,
  type FragmentEntry,
  type FragmentPack,
  fragmentRoom,
  frameLength,
  PACK_FOOTER_BYTES,
  PACK_HEADER_BYTES,
  PACK_TARGET_BYTES,
  type PackEntry,
  type PackKind,
  TABLE_ENTRY_BYTES,
  tableAndFooterLength,
  verifyPack,
} from '../format/index.ts'
import { openForReading } from '../io/index.ts'
import type { Repository } from '../repo/types.ts'
import type { Store } from '../store/types.ts'
import { forEachBounded } from './pool.ts'
import { concurrencyOf } from './remote.ts'
import { fragmentKey, keepFragment, packKey, type RemoteIndex } from './remote-index.ts'
import { sha256 } from './state.ts'
import type { Remote } from './types.ts'

/** Smaller packs are sent together, as one. */
const WHOLE_PACK_FROM_BYTES = 4 << 20
/** With this share of a pack needed, sending all of it is cheaper than making another. */
const WHOLE_PACK_SHARE = 0.5
/** Up to so many packs are asked for one by one; more are found by one list. */
const STAT_UP_TO = 4
/** As the store closes its own packs. */
const BUNDLE_MAX_FRAMES = 16_384

interface LocalPack {
  readonly id: PackId
  readonly path: string
  readonly size: number
  readonly kind: PackKind
  /** Table and footer as they lie in the file. */
  readonly tail: Uint8Array
}

interface FramePlace {
  readonly pack: LocalPack
  readonly entry: PackEntry
}

/** What is to be sent: local packs as they are, and new ones made of single frames. */
export type PackToSend =
  | { readonly whole: LocalPack; readonly bytes: number }
  | { readonly frames: readonly FramePlace[]; readonly kind: PackKind; readonly bytes: number }

/**
 * Which packs bring the contents to the remote. Deterministic: after an interruption the same packs
 * come out, and those that arrived are recognised by their names.
 * @param lacking contents the remote lacks; all are in the store
 */
export async function planUpload(
  store: Store,
  lacking: readonly ContentId[],
  index: RemoteIndex,
): Promise<readonly PackToSend[]> {
  // By the index: another pack may have the same frame, and have it damaged.
  const holding = await store.framesHolding(lacking)
  const wanted = new Set([...holding.values()].flatMap((frames) => [...frames]))
  const planned = new Set<string>()
  const send: PackToSend[] = []
  const single: Record<PackKind, FramePlace[]> = { data: [], meta: [] }
  for (const packName of [...holding.keys()].sort()) {
    const frames = holding.get(packName) ?? new Set()
    const pack = await openLocalPack(packName, store.packPath(packName))
    const needed: PackEntry[] = []
    let bytes = 0
    let healed = false
    for (const entry of tableOf(pack)) {
      const key = `${entry.kind}${toHex(entry.id)}`
      healed ||= wanted.has(key) && !frames.has(key)
      if (!frames.has(key) || planned.has(key) || index.find(entry.kind, entry.id) !== undefined)
        continue
      planned.add(key)
      needed.push(entry)
      bytes += frameLength(entry)
    }
    if (needed.length === 0) continue
    if (!healed && pack.size >= WHOLE_PACK_FROM_BYTES && bytes >= pack.size * WHOLE_PACK_SHARE) {
      send.push({ whole: pack, bytes: pack.size })
    } else {
      for (const entry of needed) single[pack.kind].push({ pack, entry })
    }
  }
  return [...send, ...bundle('data', single.data), ...bundle('meta', single.meta)]
}

async function openLocalPack(id: PackId, path: string): Promise<LocalPack> {
  const file = await openForReading(path)
  if (file === undefined) throw lostPack(id)
  try {
    const { size } = file.facts
    const kind = decodePackHeader(await file.read(0, Math.min(size, PACK_HEADER_BYTES)))
    const footer = await file.read(Math.max(0, size - PACK_FOOTER_BYTES), PACK_FOOTER_BYTES)
    const length = tableAndFooterLength(footer, size)
    return { id, path, size, kind, tail: await file.read(size - length, length) }
  } catch (cause) {
    if (cause instanceof RangeError || isCxvError(cause, 'PACK_CORRUPT')) throw lostPack(id, cause)
    throw cause
  } finally {
    await file.close()
  }
}

function tableOf(pack: LocalPack): PackEntry[] {
  try {
    return decodeTable(pack.tail, pack.size)
  } catch (cause) {
    throw lostPack(pack.id, cause)
  }
}

const lostPack = (id: PackId, cause?: unknown): CxvError =>
  new CxvError('PACK_CORRUPT', `pack ${id} of this repository is damaged or gone`, {
    hint: '`cxv fsck --repair` keeps what can be read of it and names what is lost; `cxv pull` or adding those files again brings that back',
    data: { pack: id },
    cause,
  })

/** Single frames in packs of the usual size, in the order they lie in. */
function bundle(kind: PackKind, frames: readonly FramePlace[]): PackToSend[] {
  const packs: PackToSend[] = []
  let at: FramePlace[] = []
  let bytes = PACK_HEADER_BYTES + PACK_FOOTER_BYTES
  const close = (): void => {
    if (at.length > 0) packs.push({ frames: at, kind, bytes })
    at = []
    bytes = PACK_HEADER_BYTES + PACK_FOOTER_BYTES
  }
  for (const frame of frames) {
    const more = frameLength(frame.entry) + TABLE_ENTRY_BYTES
    if (bytes + more > PACK_TARGET_BYTES || at.length >= BUNDLE_MAX_FRAMES) close()
    at.push(frame)
    bytes += more
  }
  close()
  return packs
}

interface SentPack {
  readonly pack: FragmentPack
  readonly entries: readonly PackEntry[]
}

/** The bytes of a pack to send. Local damage must not reach the remote: names and frames are checked. */
async function readPack(
  send: PackToSend,
  into: Uint8Array | undefined,
): Promise<SentPack & { readonly bytes: Uint8Array }> {
  if ('whole' in send) {
    const { id, path, size, kind } = send.whole
    const file = await openForReading(path)
    if (file === undefined) throw lostPack(id)
    try {
      const bytes = await file.read(0, size, into)
      return { bytes, pack: { id, size, kind }, entries: verifyPack(id, bytes).entries }
    } catch (error) {
      const damaged = error instanceof RangeError || isCxvError(error, 'PACK_CORRUPT')
      throw damaged ? lostPack(id, error) : error
    } finally {
      await file.close()
    }
  }
  const { id, bytes } = await buildPack(send.kind, send.frames)
  try {
    const { entries } = verifyPack(id, bytes)
    return { bytes, pack: { id, size: bytes.length, kind: send.kind }, entries }
  } catch (cause) {
    throw lostPack(send.frames[0]?.pack.id ?? id, cause)
  }
}

async function buildPack(
  kind: PackKind,
  frames: readonly FramePlace[],
): Promise<{ readonly id: PackId; readonly bytes: Uint8Array }> {
  const parts: Uint8Array[] = [encodePackHeader(kind)]
  const namer = createPackNamer(kind)
  const entries: PackEntry[] = []
  let offset = PACK_HEADER_BYTES
  for (let i = 0; i < frames.length;) {
    const { pack } = frames[i] as FramePlace
    const file = await openForReading(pack.path)
    if (file === undefined) throw lostPack(pack.id)
    try {
      for (; i < frames.length && frames[i]?.pack === pack; i++) {
        const { entry } = frames[i] as FramePlace
        const length = frameLength(entry)
        const frame = await file.read(entry.offset, length)
        parts.push(frame)
        namer.add({ ...entry, body: frame.subarray(FRAME_HEADER_BYTES) })
        entries.push({ ...entry, offset })
        offset += length
      }
    } catch (error) {
      throw error instanceof RangeError ? lostPack(pack.id, error) : error
    } finally {
      await file.close()
    }
  }
  const table = encodeTable(entries)
  return { id: namer.name(table), bytes: concatBytes([...parts, table]) }
}

export interface Upload {
  readonly sent: number
  readonly bytes: number
  readonly alreadyThere: number
}

/** Sends the packs, then the fragments that name them. Nothing refers to them yet. */
export async function uploadPacks(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  plan: readonly PackToSend[],
): Promise<Upload> {
  if (plan.length === 0) return { sent: 0, bytes: 0, alreadyThere: 0 }
  const total = plan.reduce((sum, { bytes }) => sum + bytes, 0)
  const there = await sizesThere(remote, plan)
  const done: SentPack[] = []
  const result = { sent: 0, bytes: 0, alreadyThere: 0 }
  // Fresh memory for every pack costs more than copying it: what was sent is read into again.
  const spare: Uint8Array[] = []
  const task = startTask(ctx, `push to ${remote.name}`, 'bytes', total)
  try {
    await forEachBounded(plan, concurrencyOf(remote.backend), async (send) => {
      ctx.signal.throwIfAborted()
      const { bytes, pack, entries } = await readPack(send, spare.pop())
      let told = 0
      if ((await there(pack.id)) === pack.size) result.alreadyThere++
      else {
        const onBytes = (n: number): void => {
          told += n
          task.advance(n, n)
        }
        await remote.backend.put(packKey(pack.id), bytes, { signal: ctx.signal, onBytes })
        result.sent++
        result.bytes += bytes.length
      }
      done.push({ pack, entries })
      spare.push(new Uint8Array(bytes.buffer))
      task.advance(send.bytes - told, bytes.length - told)
    })
  } finally {
    task.end()
  }
  for (const bytes of fragmentsOf(done)) {
    const id = sha256(bytes)
    await remote.backend.put(fragmentKey(id), bytes)
    keepFragment(repo, remote, id, bytes)
  }
  return result
}

/** The size of a pack that is on the remote already, from a push that did not end. */
async function sizesThere(
  { backend }: Remote,
  plan: readonly PackToSend[],
): Promise<(id: PackId) => Promise<number | undefined>> {
  if (plan.length <= STAT_UP_TO) return async (id) => (await backend.stat(packKey(id)))?.size
  const sizes = new Map<string, number>()
  for await (const { key, size } of backend.list('packs/')) sizes.set(key, size)
  return (id) => Promise.resolve(sizes.get(packKey(id)))
}

/** Fragments that name all frames of the packs, each no larger than a fragment may be. */
function fragmentsOf(done: readonly SentPack[]): Uint8Array[] {
  const out: Uint8Array[] = []
  let packs: FragmentPack[] = []
  let entries: FragmentEntry[] = []
  const close = (): void => {
    if (packs.length > 0) out.push(encodeFragment(packs, entries))
    packs = []
    entries = []
  }
  const seen = new Set<string>()
  for (const sent of [...done].sort((a, b) => (a.pack.id < b.pack.id ? -1 : 1))) {
    if (entries.length + sent.entries.length > fragmentRoom(packs.length + 1)) close()
    for (const entry of sent.entries) {
      const key = `${entry.kind}${toHex(entry.id)}`
      if (seen.has(key)) continue
      seen.add(key)
      const { kind, id, offset, plainLength } = entry
      entries.push({
        kind,
        id,
        pack: packs.length,
        offset,
        length: frameLength(entry),
        plainLength,
      })
    }
    packs.push(sent.pack)
  }
  close()
  return out
}
