import { createHash } from 'node:crypto'
import {
  contentId,
  type ContentId,
  type Context,
  fromHex,
  isCxvError,
  type PackId,
  toHex,
} from '../base/index.ts'
import {
  FRAME_HEADER_BYTES,
  frameLength,
  type PackEntry,
  scanPack,
  verifyPack,
} from '../format/index.ts'
import { linkOrCopy, pathExists, removePath } from '../io/index.ts'
import { type Layout, layOut, type Lookup, readFrame, rightLayout } from './contents.ts'
import type { ChunkIndex, PackRow } from './level-index.ts'
import { rebuildIndex } from './match-packs.ts'
import { isReadable, type PackFiles, readPackBytes, readPackTable } from './pack-files.ts'
import { createPackWriter } from './pack-writer.ts'
import { badFolder, packName, packPath, packsFolder, temporariesFolder } from './paths.ts'
import type { VerifyReport } from './types.ts'
import { removeTemporaries } from './work-files.ts'

export interface VerifyOptions {
  readonly deep: boolean
  readonly repair: boolean
  readonly onBytes?: (frames: number, bytes: number) => void
}

/** What verifying works on. */
export interface Verified {
  readonly ctx: Context
  readonly folder: string
  readonly index: ChunkIndex
  readonly files: PackFiles
  readonly lookup: Lookup
}

interface Findings {
  frames: number
  bytes: number
  /** Damaged packs, with the offsets of those frames in them that are whole. */
  readonly damaged: Map<PackId, ReadonlySet<number>>
  indexWrong: boolean
}

const CONTENTS_GROUP = 4_096

/** @see Store.verify */
export async function verifyStore(
  store: Verified,
  contents: AsyncIterable<ContentId> | Iterable<ContentId>,
  options: VerifyOptions,
): Promise<VerifyReport> {
  const { ctx, folder, index, files } = store
  const packs = packsFolder(folder)
  const leftovers = removeTemporaries(packs) + removeTemporaries(temporariesFolder(folder))
  const found: Findings = { frames: 0, bytes: 0, damaged: new Map(), indexWrong: false }
  const rows = [...index.packs().values()]
  for (const row of rows) {
    ctx.signal.throwIfAborted()
    await checkPack(store, row, options, found)
  }
  if (found.indexWrong) await rebuildIndex(index, packs)
  const damaged = [...found.damaged].map(([pack, good]) => ({ pack, readable: good.size }))
  // Before anything is moved: what a damaged frame held is lost as `corrupt`, not as `missing`.
  const lost = await findLost(store, contents, options, found)
  const aside: VerifyReport['setAside'][number][] = []
  if (options.repair && damaged.length > 0) {
    files.close()
    for (const { pack } of damaged) aside.push(await salvage(folder, index, pack))
    await rebuildIndex(index, packs)
  }
  return {
    packsChecked: rows.length,
    framesChecked: found.frames,
    bytesChecked: found.bytes,
    lost,
    damaged,
    setAside: aside,
    leftovers,
    indexRebuilt: found.indexWrong || aside.length > 0,
  }
}

async function checkPack(
  { folder, index, files }: Verified,
  row: PackRow,
  options: VerifyOptions,
  found: Findings,
): Promise<void> {
  const path = packPath(packsFolder(folder), row.id)
  if (!pathExists(path)) {
    found.indexWrong = true
    return
  }
  const { entries, whole } = options.deep ? readDeep(row.id, path) : readTable(path, row)
  if (!whole) found.damaged.set(row.id, new Set(entries.map((entry) => entry.offset)))
  if (!(await indexAgrees(index, files, row.id, entries))) found.indexWrong = true
  found.frames += entries.length
  found.bytes += row.sizeBytes
  options.onBytes?.(entries.length, row.sizeBytes)
}

/** Frames that can be used, and whether they are all that the pack should hold. */
interface UsableFrames {
  readonly entries: readonly PackEntry[]
  readonly whole: boolean
}

function readTable(path: string, row: PackRow): UsableFrames {
  const { entries, damaged } = readPackTable(path, row.sizeBytes)
  return { entries, whole: !damaged }
}

function readDeep(id: PackId, path: string): UsableFrames {
  let bytes: Uint8Array = new Uint8Array()
  try {
    bytes = readPackBytes(path) ?? bytes
    return { entries: verifyPack(id, bytes).entries, whole: true }
  } catch (error) {
    if (!isCxvError(error, 'PACK_CORRUPT')) throw error
  }
  return { entries: scanPack(bytes).entries, whole: false }
}

/** Whether every usable frame can be found through the index: here, or in a place that really has it. */
async function indexAgrees(
  index: ChunkIndex,
  files: PackFiles,
  pack: PackId,
  entries: readonly PackEntry[],
): Promise<boolean> {
  for (const kind of ['chunk', 'recipe'] as const) {
    const ofKind = entries.filter((entry) => entry.kind === kind)
    const places = await index.locate(
      kind,
      ofKind.map((entry) => entry.id),
    )
    for (const [i, entry] of ofKind.entries()) {
      const at = places[i]
      if (at === undefined) return false
      if (at.pack === pack && at.offset === entry.offset && at.length === frameLength(entry))
        continue
      if (!(await isReadable(files, entry, at))) return false
    }
  }
  return true
}

/**
 * Copies a damaged pack's whole frames to a new pack, then moves it to `bad/`. In this order: at no
 * time are the good frames only in memory. The new pack may have the old one's very name, when only
 * its table was damaged: it then took its place.
 */
async function salvage(
  folder: string,
  index: ChunkIndex,
  pack: PackId,
): Promise<VerifyReport['setAside'][number]> {
  const packs = packsFolder(folder)
  const path = packPath(packs, pack)
  const bytes = readPackBytes(path) ?? new Uint8Array()
  const to = nameInBad(folder, pack)
  linkOrCopy(path, to)
  const { entries } = scanPack(bytes)
  let replaced = false
  for (const kind of ['data', 'meta'] as const) {
    const writer = createPackWriter(packs, kind, async (written) => {
      replaced ||= written.id === pack
      await index.addPack({ ...written, damaged: false }, written.entries)
    })
    try {
      for (const entry of entries) {
        if ((entry.kind === 'chunk') !== (kind === 'data')) continue
        const from = entry.offset + FRAME_HEADER_BYTES
        writer.appendFrame({ ...entry, body: bytes.subarray(from, from + entry.storedLength) }, 0)
        await writer.keepUp()
      }
      await writer.finish()
    } finally {
      await writer.abandon()
    }
  }
  if (!replaced) removePath(path)
  return { pack, to, kept: entries.length }
}

function nameInBad(folder: string, pack: PackId): string {
  for (let n = 0; ; n++) {
    const path = `${badFolder(folder)}/${packName(pack)}${n === 0 ? '' : `.${n}`}`
    if (!pathExists(path)) return path
  }
}

async function findLost(
  store: Verified,
  contents: AsyncIterable<ContentId> | Iterable<ContentId>,
  options: VerifyOptions,
  found: Findings,
): Promise<VerifyReport['lost']> {
  const lost: VerifyReport['lost'][number][] = []
  const seen = new Set<ContentId>()
  const check = async (group: readonly ContentId[]): Promise<void> => {
    store.ctx.signal.throwIfAborted()
    const ids = group.map((id) => fromHex(contentId(id)))
    const layouts = await layOut(store.files, store.lookup, ids)
    for (const [i, layout] of layouts.entries()) {
      const id = group[i]!
      const reason =
        layout === undefined
          ? await reasonOfAbsence(store, ids[i]!)
          : await problemOf(store, layout, options, found)
      if (reason !== undefined) lost.push({ id, reason })
    }
  }
  let group: ContentId[] = []
  for await (const id of contents) {
    if (seen.has(id)) continue
    seen.add(id)
    group.push(id)
    if (group.length < CONTENTS_GROUP) continue
    await check(group)
    group = []
  }
  await check(group)
  return lost
}

/** A recipe that is known and yet gave no layout is damaged, or names chunks that are not here. */
async function reasonOfAbsence(store: Verified, id: Uint8Array): Promise<'missing' | 'corrupt'> {
  const [at] = await store.lookup.locate('recipe', [id])
  if (at === undefined) return 'missing'
  try {
    await readFrame(store.files, store.lookup, 'recipe', id, at)
    return 'missing'
  } catch {
    return 'corrupt'
  }
}

async function problemOf(
  store: Verified,
  layout: Layout,
  { deep }: VerifyOptions,
  { damaged }: Findings,
): Promise<'missing' | 'corrupt' | undefined> {
  const parts = layout.kind === 'chunk' ? [layout] : layout.parts
  // The chunks of a larger file are whole by now; only together do they show that the recipe is right.
  const whole = deep && layout.kind === 'parts' ? createHash('sha256') : undefined
  try {
    for (const { id, at } of parts) {
      const good = damaged.get(at.pack)
      const doubtful = good !== undefined && !good.has(at.offset)
      if (!doubtful && whole === undefined) continue
      const bytes = await readFrame(store.files, store.lookup, 'chunk', id, at)
      whole?.update(bytes)
    }
  } catch (error) {
    if (isCxvError(error, 'CHUNK_MISSING')) return 'missing'
    if (isCxvError(error, 'CHUNK_CORRUPT')) return 'corrupt'
    throw error
  }
  if (whole === undefined || whole.digest('hex') === toHex(layout.id)) return undefined
  const right = await rightLayout(store.files, store.lookup, layout)
  return right === undefined ? 'corrupt' : undefined
}
