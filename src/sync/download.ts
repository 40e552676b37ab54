import {
  contentId,
  type ContentId,
  type Context,
  CxvError,
  firstOf,
  fromHex,
  isCxvError,
  plural,
  startTask,
  toHex,
} from '../base/index.ts'
import { decodeFrame, decodeRecipe, type FragmentPack, type Recipe } from '../format/index.ts'
import type { CheckoutAhead } from '../repo/index.ts'
import type { Repository } from '../repo/types.ts'
import type { Store } from '../store/types.ts'
import type { Contents } from './commits.ts'
import { forEachBounded, inOrder } from './pool.ts'
import { concurrencyOf } from './remote.ts'
import { indexFragments, loadRemoteIndex, type Located, packKey } from './remote-index.ts'
import { corrupt, trusting } from './state.ts'
import type { Remote } from './types.ts'

/** With this share of a pack wanted all of it is fetched, in one request. */
const WHOLE_PACK_SHARE = 0.5
/** Smaller packs always are. */
const WHOLE_PACK_UP_TO_BYTES = 1 << 20
/** Frames nearer than this come in one request: over a wide line a request costs more than these bytes. */
const GAP_BYTES = 1 << 20
const SPAN_BYTES = 16 << 20

/**
 * Packs of more frames than this on average are taken one at a time: what is kept of each frame is then
 * larger than the pack, and making so many small files is the disk's work, not the processor's.
 */
const MANY_FRAMES = 4_096

export interface Download {
  readonly contents: number
  readonly packs: number
  /** Packs that are hard links to the remote's. */
  readonly packsLinked: number
  readonly bytes: number
}

export const NOTHING: Download = { contents: 0, packs: 0, packsLinked: 0, bytes: 0 }

export interface FetchFramesOptions {
  readonly ahead?: CheckoutAhead | undefined
  /** Whole packs of a remote on this disk become hard links to its files, where they can. */
  readonly link?: boolean | undefined
}

/** Consecutive frames of one pack, in one request. */
interface Span {
  readonly pack: FragmentPack
  readonly offset: number
  readonly length: number
  readonly frames: readonly Located[]
}

/** Where the contents that are not here lie on the remote. */
export interface LocatedContents {
  readonly contents: number
  readonly frames: readonly Located[]
}

/**
 * Finds the contents that are not here. What it looks up in is let go with it: of 112,120 files that is
 * 40 MB which the transfer need not carry along.
 * @param onLost told what the remote lacks, and the rest is located; without it that is an error
 * @throws CxvError REMOTE_LACKS, REMOTE_CORRUPT
 */
export async function locateContents(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  wanted: Contents,
  onLost: (paths: readonly string[]) => void = (paths) => {
    throw lacks(remote, paths)
  },
): Promise<LocatedContents> {
  const store = await repo.store()
  const missing = await store.missing([...wanted.keys()])
  if (missing.size === 0) return { contents: 0, frames: [] }
  const index = indexFragments(await loadRemoteIndex(ctx, repo, remote))
  const frames: Located[] = []
  const recipes: Located[] = []
  const lost: string[] = []
  for (const id of missing) {
    const found = index.findContent(id)
    if (found === undefined) lost.push(wanted.get(id) ?? id)
    else if (found.kind === 'chunk') frames.push(found)
    else recipes.push(found)
  }
  // Of a larger file only some chunks may be missing here: its recipe says which it has.
  const parts = new Map<ContentId, string>()
  for await (const { located, recipe } of readRecipes(remote, recipes)) {
    const path = wanted.get(located.id) ?? located.id
    for (const part of recipe.parts) parts.set(contentId(toHex(part.id)), path)
  }
  for (const id of await store.missing([...parts.keys()])) {
    // A small file may be a part of a large one: it is on the list already.
    if (missing.has(id)) continue
    const found = index.find('chunk', Buffer.from(id, 'hex'), id)
    if (found === undefined) lost.push(parts.get(id) ?? id)
    else frames.push(found)
  }
  if (lost.length > 0) onLost([...new Set(lost)])
  for (const recipe of recipes) frames.push(recipe)
  return { contents: missing.size, frames }
}

/**
 * Brings these frames, in whole packs where most of one is wanted. Every byte is checked against its id
 * before it is published; what arrived stays when this is stopped, and is not fetched again.
 * @throws CxvError REMOTE_CORRUPT
 */
export async function fetchFrames(
  ctx: Context,
  repo: Repository,
  remote: Remote,
  { contents, frames }: LocatedContents,
  options: FetchFramesOptions = {},
): Promise<Download> {
  if (frames.length === 0) return NOTHING
  return { contents, ...(await transfer(ctx, await repo.store(), remote, frames, options)) }
}

async function transfer(
  ctx: Context,
  store: Store,
  remote: Remote,
  frames: readonly Located[],
  { ahead, link = false }: FetchFramesOptions,
): Promise<Omit<Download, 'contents'>> {
  const { whole, spans } = planDownload(frames)
  const total =
    whole.reduce((sum, { pack }) => sum + pack.size, 0) +
    spans.reduce((sum, s) => sum + s.length, 0)
  const limit = concurrencyOf(remote.backend)
  const inWhole = whole.reduce((sum, { frames: held }) => sum + held.length, 0)
  // Read into again and again, where the backend does: memory of its own for each pack waits for two collectors.
  const largest = Math.max(0, ...whole.map(({ pack }) => pack.size))
  const spare: Uint8Array[] = []
  let reuses = true
  let packsLinked = 0
  const importer = store.openImporter()
  // One more than are taken in at a time: it is read meanwhile.
  const atOnce = inWhole > whole.length * MANY_FRAMES ? 1 : Math.max(limit, importer.width) + 1
  const task = startTask(ctx, `pull from ${remote.name}`, 'bytes', total)
  try {
    await forEachBounded(whole, atOnce, async ({ pack, frames: held }) => {
      ctx.signal.throwIfAborted()
      const files = ahead === undefined ? [] : held.flatMap((frame) => ahead.take(frame.id))
      const path = link ? remote.backend.file?.(packKey(pack.id)) : undefined
      if (path !== undefined) {
        const linking = { path, sizeBytes: pack.size }
        const written = await importing(remote, packKey(pack.id), () =>
          importer.importLink(pack.id, linking, files),
        )
        if (written !== undefined) {
          packsLinked++
          if (written.length > 0) await ahead?.wrote(written)
          task.advance(pack.size)
          return
        }
      }
      let told = 0
      const onBytes = (n: number): void => {
        told += n
        task.advance(n, n)
      }
      const into = reuses ? (spare.pop() ?? new Uint8Array(largest)) : undefined
      const bytes = await getPack(ctx, remote, pack, { into, onBytes })
      reuses &&= bytes.buffer === into?.buffer
      const done = await importing(remote, packKey(pack.id), () =>
        importer.import(pack.id, bytes, files),
      )
      if (reuses) spare.push(new Uint8Array(done.bytes.buffer))
      if (done.written.length > 0) await ahead?.wrote(done.written)
      task.advance(pack.size - told, pack.size - told)
    })
    if (spans.length > 0) {
      const arrived = (bytes: number): void => task.advance(bytes, bytes)
      await store.importFrames(framesOf(ctx, remote, spans, limit, arrived))
    }
  } finally {
    await importer.close()
    task.end()
  }
  return { packs: whole.length, packsLinked, bytes: total }
}

async function getPack(
  ctx: Context,
  remote: Remote,
  pack: FragmentPack,
  {
    into,
    onBytes,
  }: {
    readonly into: Uint8Array | undefined
    readonly onBytes: (bytes: number) => void
  },
): Promise<Uint8Array<ArrayBuffer>> {
  const key = packKey(pack.id)
  const got = await remote.backend.get(key, undefined, {
    signal: ctx.signal,
    onBytes,
    ...(into && { into }),
  })
  if (got === undefined) throw corrupt(remote, key, 'is absent, though its index names it')
  if (got.bytes.length !== pack.size) {
    throw corrupt(remote, key, `has ${got.bytes.length} bytes instead of ${pack.size}`)
  }
  const { buffer, byteOffset, length } = got.bytes
  // What is handed to another thread must be no memory that threads share.
  return buffer instanceof ArrayBuffer
    ? new Uint8Array(buffer, byteOffset, length)
    : new Uint8Array(got.bytes)
}

async function importing<T>(remote: Remote, key: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (isCxvError(error, 'PACK_CORRUPT')) throw corrupt(remote, key, 'is damaged', error)
    throw error
  }
}

/** Whole packs where most of one is wanted; else spans of frames that lie near each other. */
export function planDownload(frames: readonly Located[]): {
  readonly whole: readonly { readonly pack: FragmentPack; readonly frames: readonly Located[] }[]
  readonly spans: readonly Span[]
} {
  const whole: { pack: FragmentPack; frames: readonly Located[] }[] = []
  const spans: Span[] = []
  for (const list of groupByPack(frames).values()) {
    const pack = list[0]?.pack
    if (pack === undefined) continue
    const bytes = list.reduce((sum, frame) => sum + frame.length, 0)
    if (pack.size <= WHOLE_PACK_UP_TO_BYTES || bytes >= pack.size * WHOLE_PACK_SHARE) {
      whole.push({ pack, frames: list })
    } else {
      spans.push(...spansOf(pack, list))
    }
  }
  return { whole, spans }
}

function groupByPack(frames: readonly Located[]): ReadonlyMap<string, Located[]> {
  const byPack = new Map<string, Located[]>()
  for (const frame of frames) {
    const list = byPack.get(frame.pack.id)
    if (list === undefined) byPack.set(frame.pack.id, [frame])
    else list.push(frame)
  }
  return byPack
}

function spansOf(pack: FragmentPack, frames: Located[]): Span[] {
  frames.sort((a, b) => a.offset - b.offset)
  const spans: Span[] = []
  let start = 0
  for (let i = 1; i <= frames.length; i++) {
    const first = frames[start] as Located
    const last = frames[i - 1] as Located
    const next = frames[i]
    const end = last.offset + last.length
    const goesOn =
      next !== undefined &&
      next.offset - end <= GAP_BYTES &&
      next.offset + next.length - first.offset <= SPAN_BYTES
    if (goesOn) continue
    const length = end - first.offset
    spans.push({ pack, offset: first.offset, length, frames: frames.slice(start, i) })
    start = i
  }
  return spans
}

async function* framesOf(
  ctx: Context,
  remote: Remote,
  spans: readonly Span[],
  limit: number,
  arrived: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const get = async (span: Span): Promise<{ span: Span; bytes: Uint8Array; told: number }> => {
    ctx.signal.throwIfAborted()
    let told = 0
    const onBytes = (n: number): void => {
      told += n
      arrived(n)
    }
    return { span, bytes: await getSpan(remote, span, onBytes), told }
  }
  for await (const { span, bytes, told } of inOrder(spans, limit, get)) {
    for (const frame of span.frames) {
      const at = frame.offset - span.offset
      const piece = bytes.subarray(at, at + frame.length)
      checkedFrame(remote, frame, piece)
      yield piece
    }
    arrived(span.length - told)
  }
}

async function getSpan(
  remote: Remote,
  span: Span,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<Uint8Array> {
  const key = packKey(span.pack.id)
  const range = { offset: span.offset, length: span.length }
  const got = await remote.backend.get(key, range, { onBytes })
  if (got === undefined) throw corrupt(remote, key, 'is absent, though its index names it')
  return got.bytes
}

/** The frame must be the one that the index promised, and hold what its id says. */
function checkedFrame(remote: Remote, located: Located, bytes: Uint8Array): Uint8Array {
  const key = packKey(located.pack.id)
  return trusting(remote, key, () => {
    const { entry, plain } = decodeFrame(bytes)
    if (entry.kind !== located.kind || toHex(entry.id) !== located.id) {
      throw new CxvError('FORMAT_INVALID', 'another frame lies where the index says')
    }
    return plain
  })
}

/** The recipes at these places, in the order of the packs. */
export async function* readRecipes(
  remote: Remote,
  places: readonly Located[],
): AsyncGenerator<{ readonly located: Located; readonly recipe: Recipe }> {
  const spans = [...groupByPack(places).values()].flatMap((list) =>
    spansOf((list[0] as Located).pack, list),
  )
  const get = async (span: Span): Promise<{ span: Span; bytes: Uint8Array }> => ({
    span,
    bytes: await getSpan(remote, span),
  })
  for await (const { span, bytes } of inOrder(spans, concurrencyOf(remote.backend), get)) {
    for (const located of span.frames) {
      const at = located.offset - span.offset
      const plain = checkedFrame(remote, located, bytes.subarray(at, at + located.length))
      const key = packKey(span.pack.id)
      yield {
        located,
        recipe: trusting(remote, key, () => decodeRecipe(fromHex(located.id), plain)),
      }
    }
  }
}

export const lacks = (remote: Remote, paths: readonly string[]): CxvError =>
  new CxvError(
    'REMOTE_LACKS',
    `the remote ${remote.name} lacks the bytes of ${plural(paths.length, 'file')}: ${firstOf(paths)}`,
    {
      hint: 'on a machine that has them, run `cxv push --recheck`',
      data: { remote: remote.name, count: paths.length, paths: paths.slice(0, 100) },
    },
  )
