import { createHash } from 'node:crypto'
import { contentId, type ContentId, CxvError, fromHex, isCxvError, toHex } from '../base/index.ts'
import { decodeRecipe, type ObjectKind, type Recipe } from '../format/index.ts'
import { decodeLocated, type PackFiles } from './pack-files.ts'
import type { ContentReader, Locator } from './types.ts'

/** Where the bytes of one content lie. */
export type Layout =
  | { readonly kind: 'chunk'; readonly id: Uint8Array; readonly at: Locator }
  | {
      readonly kind: 'parts'
      readonly id: Uint8Array
      readonly size: number
      readonly recipe: Locator
      readonly parts: readonly { readonly id: Uint8Array; readonly at: Locator }[]
    }

/** Finds locators: the index, or a fixed map that was made from it. */
export interface Lookup {
  locate(kind: ObjectKind, ids: readonly Uint8Array[]): Promise<readonly (Locator | undefined)[]>
  /** Another place for a frame that is damaged or gone where the index says, if there is one. */
  elsewhere(
    kind: ObjectKind,
    id: Uint8Array,
    tried: readonly Locator[],
  ): Promise<Locator | undefined>
  /** Every frame of these chunk lists that a pack has, by content id in hex. */
  recipesOf(ids: readonly Uint8Array[]): Promise<ReadonlyMap<string, readonly Locator[]>>
  /** The chunk list to use from now on. */
  prefer(id: Uint8Array, recipe: Locator): Promise<void>
}

const DEFAULT_MAX_BYTES = 1 << 30
/** Frames closer than this are read in one go. */
const GAP_BYTES = 64 << 10
const SPAN_BYTES = 4 << 20
const GROUP = 8_192

export const missingContent = (id: string): CxvError =>
  new CxvError('CHUNK_MISSING', `the bytes of ${id} are not in this repository`, {
    hint: '`cxv pull` fetches them from a remote; adding the file again stores them anew',
    data: { id },
  })

/** Reads one verified frame, from elsewhere if the place the index names fails. */
export async function readFrame(
  files: PackFiles,
  lookup: Lookup,
  kind: ObjectKind,
  id: Uint8Array,
  at: Locator,
): Promise<Uint8Array> {
  const tried: Locator[] = []
  for (let place = at; ;) {
    try {
      return decodeLocated(
        kind,
        id,
        place,
        await files.read(place.pack, place.offset, place.length),
      )
    } catch (error) {
      if (!isCxvError(error, 'CHUNK_CORRUPT') && !isCxvError(error, 'CHUNK_MISSING')) throw error
      tried.push(place)
      const other = await lookup.elsewhere(kind, id, tried)
      if (other === undefined) throw error
      place = other
    }
  }
}

/**
 * Where each content lies; recipes are read. `undefined` where a chunk or recipe is not known.
 * @param ids 32 bytes each
 */
export async function layOut(
  files: PackFiles,
  lookup: Lookup,
  ids: readonly Uint8Array[],
): Promise<readonly (Layout | undefined)[]> {
  const layouts: (Layout | undefined)[] = (await lookup.locate('chunk', ids)).map((at, i) =>
    at === undefined ? undefined : { kind: 'chunk', id: ids[i]!, at },
  )
  const unknown = layouts.flatMap((layout, i) => (layout === undefined ? [i] : []))
  if (unknown.length === 0) return layouts
  const recipes = await lookup.locate(
    'recipe',
    unknown.map((i) => ids[i]!),
  )
  for (const [k, at] of recipes.entries()) {
    if (at === undefined) continue
    const i = unknown[k]!
    const recipe = await readRecipe(files, lookup, ids[i]!, at)
    if (recipe === undefined) continue
    layouts[i] = await layOutRecipe(lookup, ids[i]!, at, recipe)
  }
  // A list that leads nowhere may hide one that does.
  const stuck = unknown.filter((i, k) => layouts[i] === undefined && recipes[k] !== undefined)
  if (stuck.length === 0) return layouts
  const others = await lookup.recipesOf(stuck.map((i) => ids[i]!))
  for (const i of stuck) {
    const id = ids[i]!
    for await (const layout of layoutsAt(files, lookup, id, others.get(toHex(id)) ?? [])) {
      layouts[i] = layout
      await lookup.prefer(id, layout.recipe)
      break
    }
  }
  return layouts
}

type Parts = Layout & { readonly kind: 'parts' }

async function* layoutsAt(
  files: PackFiles,
  lookup: Lookup,
  id: Uint8Array,
  places: readonly Locator[],
): AsyncGenerator<Parts> {
  const onlyHere: Lookup = { ...lookup, elsewhere: () => Promise.resolve(undefined) }
  for (const at of places) {
    const recipe = await readRecipe(files, onlyHere, id, at)
    const layout = recipe && (await layOutRecipe(lookup, id, at, recipe))
    if (layout !== undefined) yield layout
  }
}

/**
 * For a content whose chunk list turned out wrong: where another list says it lies, proved by reading
 * all of it. That list is preferred from now on.
 */
export async function rightLayout(
  files: PackFiles,
  lookup: Lookup,
  wrong: Layout,
): Promise<Layout | undefined> {
  if (wrong.kind === 'chunk') return undefined
  const places = (await lookup.recipesOf([wrong.id])).get(toHex(wrong.id)) ?? []
  const others = places.filter((at) => byPlace(at, wrong.recipe) !== 0)
  for await (const layout of layoutsAt(files, lookup, wrong.id, others)) {
    if (!(await makesUp(files, lookup, layout))) continue
    await lookup.prefer(layout.id, layout.recipe)
    return layout
  }
  return undefined
}

async function makesUp(files: PackFiles, lookup: Lookup, layout: Parts): Promise<boolean> {
  const whole = createHash('sha256')
  try {
    for (const { id, at } of layout.parts) {
      whole.update(await readFrame(files, lookup, 'chunk', id, at))
    }
  } catch (error) {
    if (isCxvError(error, 'CHUNK_CORRUPT') || isCxvError(error, 'CHUNK_MISSING')) return false
    throw error
  }
  return whole.digest('hex') === toHex(layout.id)
}

async function readRecipe(
  files: PackFiles,
  lookup: Lookup,
  id: Uint8Array,
  at: Locator,
): Promise<Recipe | undefined> {
  try {
    return decodeRecipe(id, await readFrame(files, lookup, 'recipe', id, at))
  } catch (error) {
    if (isCxvError(error, 'CHUNK_CORRUPT') || isCxvError(error, 'CHUNK_MISSING')) return undefined
    throw error
  }
}

async function layOutRecipe(
  lookup: Lookup,
  id: Uint8Array,
  recipeAt: Locator,
  recipe: Recipe,
): Promise<Parts | undefined> {
  const places = await lookup.locate(
    'chunk',
    recipe.parts.map((part) => part.id),
  )
  const parts: { id: Uint8Array; at: Locator }[] = []
  for (const [i, part] of recipe.parts.entries()) {
    const at = places[i]
    if (at?.plainLength !== part.length) return undefined
    parts.push({ id: part.id, at })
  }
  return { kind: 'parts', id, size: recipe.size, recipe: recipeAt, parts }
}

const sizeOf = (layout: Layout): number =>
  layout.kind === 'chunk' ? layout.at.plainLength : layout.size

const corruptContent = (id: string): CxvError =>
  new CxvError('CHUNK_CORRUPT', `the chunks of ${id} do not make up its bytes`, {
    hint: 'add the file again, or `cxv pull`: its chunk list is then written anew',
    data: { id },
  })

/** The reading half of a store: every byte given out was verified. */
export function createContentReader(
  files: PackFiles,
  lookup: Lookup,
  close: () => Promise<void>,
): ContentReader {
  const layoutOf = async (id: ContentId): Promise<Layout> => {
    const [layout] = await layOut(files, lookup, [fromHex(contentId(id))])
    if (layout === undefined) throw missingContent(id)
    return layout
  }

  async function* pieces(layout: Layout): AsyncGenerator<Uint8Array> {
    if (layout.kind === 'chunk') {
      yield await readFrame(files, lookup, 'chunk', layout.id, layout.at)
      return
    }
    const whole = createHash('sha256')
    let held: Uint8Array | undefined
    for (const part of layout.parts) {
      const bytes = await readFrame(files, lookup, 'chunk', part.id, part.at)
      whole.update(bytes)
      if (held !== undefined) yield held
      held = bytes
    }
    const id = toHex(layout.id)
    if (whole.digest('hex') !== id) throw corruptContent(id)
    if (held !== undefined) yield held
  }

  const readLayout = async (layout: Layout, maxBytes: number): Promise<Uint8Array> => {
    try {
      return await readPieces(layout, maxBytes)
    } catch (error) {
      if (!isCxvError(error, 'CHUNK_CORRUPT') && !isCxvError(error, 'CHUNK_MISSING')) throw error
      const right = await rightLayout(files, lookup, layout)
      if (right === undefined) throw error
      return readPieces(right, maxBytes)
    }
  }

  const readPieces = async (layout: Layout, maxBytes: number): Promise<Uint8Array> => {
    const size = sizeOf(layout)
    if (size > maxBytes) {
      throw new CxvError('TOO_LARGE', `${toHex(layout.id)} has ${size} bytes, over ${maxBytes}`, {
        data: { id: toHex(layout.id), size, maxBytes },
      })
    }
    const out = new Uint8Array(size)
    let at = 0
    for await (const piece of pieces(layout)) {
      out.set(piece, at)
      at += piece.length
    }
    return out
  }

  return {
    async missing(ids) {
      const absent = new Set<ContentId>()
      for (let from = 0; from < ids.length; from += GROUP) {
        const group = ids.slice(from, from + GROUP)
        const layouts = await layOut(
          files,
          lookup,
          group.map((id) => fromHex(contentId(id))),
        )
        layouts.forEach((layout, i) => {
          if (layout === undefined) absent.add(group[i]!)
        })
      }
      return absent
    },
    async read(id, options = {}) {
      return readLayout(await layoutOf(id), options.maxBytes ?? DEFAULT_MAX_BYTES)
    },
    async *readMany(ids) {
      const layouts: Layout[] = []
      const unique = [...new Set(ids)]
      for (let from = 0; from < unique.length; from += GROUP) {
        const group = unique.slice(from, from + GROUP)
        const found = await layOut(
          files,
          lookup,
          group.map((id) => fromHex(contentId(id))),
        )
        for (const [i, layout] of found.entries()) {
          if (layout === undefined) throw missingContent(group[i]!)
          layouts.push(layout)
        }
      }
      for await (const [layout, bytes] of readInPackOrder(files, lookup, layouts)) {
        yield [contentId(toHex(layout.id)), bytes ?? (await readLayout(layout, DEFAULT_MAX_BYTES))]
      }
    },
    async *stream(id) {
      const layout = await layoutOf(id)
      try {
        yield* pieces(layout)
      } catch (error) {
        if (!isCxvError(error, 'CHUNK_CORRUPT') || layout.kind === 'chunk') throw error
        if ((await rightLayout(files, lookup, layout)) === undefined) throw error
        throw new CxvError('CHUNK_CORRUPT', error.message, {
          hint: 'run the same command again: a chunk list that is right was found',
          data: error.data,
          cause: error,
        })
      }
    },
    close,
  }
}

/** First place of a content, for ordering reads as they lie on disk. */
export const placeOf = (layout: Layout): Locator => {
  const at = layout.kind === 'chunk' ? layout.at : layout.parts[0]?.at
  if (at === undefined) throw new Error('a recipe has no parts')
  return at
}

export function byPlace(a: Locator, b: Locator): number {
  if (a.pack !== b.pack) return a.pack < b.pack ? -1 : 1
  return a.offset - b.offset
}

/** A run of bytes of one pack that holds several frames asked for. */
export interface Span {
  readonly at: Locator
  readonly layouts: Layout[]
  end: number
}

export function spansOf(layouts: readonly Layout[]): Span[] {
  const sorted = [...layouts].sort((a, b) => byPlace(placeOf(a), placeOf(b)))
  const spans: Span[] = []
  for (const layout of sorted) {
    const at = placeOf(layout)
    const last = spans.at(-1)
    const end = at.offset + at.length
    if (
      last?.at.pack === at.pack &&
      layout.kind === 'chunk' &&
      last.layouts[0]?.kind === 'chunk' &&
      at.offset - last.end <= GAP_BYTES &&
      end - last.at.offset <= SPAN_BYTES
    ) {
      last.layouts.push(layout)
      last.end = Math.max(last.end, end)
    } else {
      spans.push({ at, layouts: [layout], end })
    }
  }
  return spans
}

/** Yields whole chunks with their bytes, and contents of several parts without (the caller reads them). */
async function* readInPackOrder(
  files: PackFiles,
  lookup: Lookup,
  layouts: readonly Layout[],
): AsyncGenerator<readonly [Layout, Uint8Array | undefined]> {
  const spans = spansOf(layouts)
  const read = (span: Span | undefined): Promise<Uint8Array | undefined> => {
    if (span === undefined || span.layouts[0]?.kind !== 'chunk') return Promise.resolve(undefined)
    // A span that cannot be read is tried frame by frame, where another place may be found.
    return files
      .read(span.at.pack, span.at.offset, span.end - span.at.offset)
      .catch(() => undefined)
  }
  let ahead = read(spans[0])
  for (const [i, span] of spans.entries()) {
    const bytes = await ahead
    ahead = read(spans[i + 1])
    for (const layout of span.layouts) {
      if (layout.kind !== 'chunk') yield [layout, undefined]
      else yield [layout, await chunkOfSpan(files, lookup, layout, span, bytes)]
    }
  }
}

async function chunkOfSpan(
  files: PackFiles,
  lookup: Lookup,
  layout: Layout & { readonly kind: 'chunk' },
  span: Span,
  bytes: Uint8Array | undefined,
): Promise<Uint8Array> {
  const from = layout.at.offset - span.at.offset
  try {
    if (bytes !== undefined) {
      const frame = bytes.subarray(from, from + layout.at.length)
      // A copy: what the caller keeps must not keep the whole span alive.
      return new Uint8Array(decodeLocated('chunk', layout.id, layout.at, frame))
    }
  } catch (error) {
    if (!isCxvError(error, 'CHUNK_CORRUPT')) throw error
  }
  return readFrame(files, lookup, 'chunk', layout.id, layout.at)
}
