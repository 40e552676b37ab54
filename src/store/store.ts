import {
  type ContentId,
  contentId,
  type Context,
  CxvError,
  equalBytes,
  fromHex,
  type PackId,
  plural,
  toHex,
} from '../base/index.ts'
import { frameLength, type ObjectKind, type PackEntry } from '../format/index.ts'
import { addFiles } from './add.ts'
import { createContentReader, type Layout, layOut, type Lookup } from './contents.ts'
import { createPackImporter } from './import.ts'
import { importFrames, putBytes } from './ingest.ts'
import type { ChunkIndex, PackRow } from './level-index.ts'
import { materialise } from './materialise.ts'
import type { WorkFolders } from './materialiser.ts'
import { createPackFiles, readPackTable } from './pack-files.ts'
import { packPath, packsFolder, temporariesFolder } from './paths.ts'
import { verifyStore } from './verify.ts'
import type { ContentReader, Locator, Store } from './types.ts'

/** The store over an open index. Closing it closes the index. */
export function createStoreOver(ctx: Context, folder: string, index: ChunkIndex): Store {
  const packs = packsFolder(folder)
  const folders: WorkFolders = { packs, temporaries: temporariesFolder(folder) }
  const files = createPackFiles(packs)
  const lookup: Lookup = {
    locate: (kind, ids) => index.locate(kind, ids),
    elsewhere: (kind, id, tried) => findElsewhere(index, packs, kind, id, tried),
    recipesOf: (ids) => Promise.resolve(findRecipes(index, packs, ids)),
    prefer: (id, recipe) => index.repoint('recipe', id, recipe),
  }
  const reader = createContentReader(files, lookup, async () => {
    files.close()
    await index.close()
  })
  return {
    ...reader,
    put: (bytes) => putBytes(packs, index, files, bytes),
    addFiles: (toAdd, options) => addFiles(ctx, index, packs, toAdd, options),
    materialise: (wanted, options) => materialise(ctx, folders, files, lookup, wanted, options),
    packs: () => Promise.resolve([...index.packs().keys()]),
    async packsHolding(ids) {
      const holding = new Map<PackId, ContentId[]>()
      for (const [id, layout] of await layOutAll(files, lookup, ids)) {
        const places = layout === undefined ? [] : placesOf(layout)
        for (const pack of new Set(places.map((at) => at.pack))) {
          const held = holding.get(pack)
          if (held === undefined) holding.set(pack, [id])
          else held.push(id)
        }
      }
      return holding
    },
    async framesHolding(ids) {
      const holding = new Map<PackId, Set<string>>()
      const enter = (kind: ObjectKind, id: Uint8Array, at: Locator): void => {
        const frames = holding.get(at.pack)
        if (frames === undefined) holding.set(at.pack, new Set([`${kind}${toHex(id)}`]))
        else frames.add(`${kind}${toHex(id)}`)
      }
      for (const layout of (await layOutAll(files, lookup, ids)).values()) {
        if (layout === undefined) continue
        if (layout.kind === 'chunk') enter('chunk', layout.id, layout.at)
        else {
          enter('recipe', layout.id, layout.recipe)
          for (const part of layout.parts) enter('chunk', part.id, part.at)
        }
      }
      return holding
    },
    packPath: (id) => packPath(packs, id),
    openImporter: () => createPackImporter(folders, index, files),
    importFrames: (frames) => importFrames(packs, index, files, frames),
    stats() {
      const rows = [...index.packs().values()]
      const sum = (of: (row: (typeof rows)[number]) => number): number =>
        rows.reduce((total, row) => total + of(row), 0)
      return Promise.resolve({
        packs: rows.length,
        bytes: sum((row) => row.sizeBytes),
        chunks: sum((row) => row.chunks),
        recipes: sum((row) => row.recipes),
      })
    },
    verify: (contents, options) =>
      verifyStore({ ctx, folder, index, files, lookup }, contents, options),
    pinnedReader: (ids) => openPinnedReader(packs, lookup, ids),
    cache: index.cache,
  }
}

const placesOf = (layout: Layout): readonly Locator[] =>
  layout.kind === 'chunk' ? [layout.at] : [layout.recipe, ...layout.parts.map((part) => part.at)]

const GROUP = 8_192

async function layOutAll(
  files: ReturnType<typeof createPackFiles>,
  lookup: Lookup,
  ids: readonly ContentId[],
): Promise<Map<ContentId, Layout | undefined>> {
  const all = new Map<ContentId, Layout | undefined>()
  for (let from = 0; from < ids.length; from += GROUP) {
    const group = ids.slice(from, from + GROUP)
    const found = await layOut(
      files,
      lookup,
      group.map((id) => fromHex(contentId(id))),
    )
    group.forEach((id, i) => all.set(id, found[i]))
  }
  return all
}

/** Looks through every pack's table: slow, and only after a frame has failed. */
async function findElsewhere(
  index: ChunkIndex,
  packs: string,
  kind: ObjectKind,
  id: Uint8Array,
  tried: readonly Locator[],
): Promise<Locator | undefined> {
  for (const { entry, at } of framesOf(packs, index.packs().values(), kind)) {
    if (!equalBytes(entry.id, id)) continue
    if (tried.some((t) => t.pack === at.pack && t.offset === at.offset)) continue
    await index.repoint(kind, id, at)
    return at
  }
  return undefined
}

/** All frames of these chunk lists: as slow as `findElsewhere`, and only for those that failed. */
function findRecipes(
  index: ChunkIndex,
  packs: string,
  ids: readonly Uint8Array[],
): Map<string, Locator[]> {
  const found = new Map<string, Locator[]>(ids.map((id) => [toHex(id), []]))
  const rows = [...index.packs().values()].filter((row) => row.recipes > 0)
  for (const { entry, at } of framesOf(packs, rows, 'recipe')) found.get(toHex(entry.id))?.push(at)
  return found
}

/** The frames of one kind by the packs' own tables; packs that cannot be read are passed over. */
function* framesOf(
  packs: string,
  rows: Iterable<PackRow>,
  kind: ObjectKind,
): Generator<{ readonly entry: PackEntry; readonly at: Locator }> {
  for (const row of rows) {
    let entries
    try {
      entries = readPackTable(packPath(packs, row.id), row.sizeBytes).entries
    } catch {
      continue
    }
    for (const entry of entries) {
      if (entry.kind !== kind) continue
      const { offset, plainLength } = entry
      yield { entry, at: { pack: row.id, offset, length: frameLength(entry), plainLength } }
    }
  }
}

/** Holds locators and pack descriptors, nothing of LevelDB. */
async function openPinnedReader(
  packs: string,
  lookup: Lookup,
  ids: readonly ContentId[],
): Promise<ContentReader> {
  const files = createPackFiles(packs)
  const layouts = await layOutAll(files, lookup, ids)
  const absent = [...layouts].filter(([, layout]) => layout === undefined)
  if (absent.length > 0) {
    files.close()
    throw new CxvError(
      'CHUNK_MISSING',
      `${plural(absent.length, 'file')} of this version are not here`,
      {
        hint: '`cxv pull` fetches them from a remote',
        data: { missing: absent.length, first: absent[0]?.[0] },
      },
    )
  }
  const places = new Map<string, Locator>()
  for (const layout of layouts.values()) {
    if (layout?.kind === 'chunk') places.set(`chunk ${toHex(layout.id)}`, layout.at)
    if (layout?.kind !== 'parts') continue
    places.set(`recipe ${toHex(layout.id)}`, layout.recipe)
    for (const part of layout.parts) places.set(`chunk ${toHex(part.id)}`, part.at)
  }
  return createContentReader(
    files,
    {
      locate: (kind, wanted) =>
        Promise.resolve(wanted.map((id) => places.get(`${kind} ${toHex(id)}`))),
      elsewhere: () => Promise.resolve(undefined),
      recipesOf: () => Promise.resolve(new Map()),
      prefer: () => Promise.resolve(),
    },
    () => {
      files.close()
      return Promise.resolve()
    },
  )
}
