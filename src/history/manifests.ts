import { compareUtf8, CxvError } from '../base/index.ts'
import {
  decodeShard,
  decodeShardOrder,
  encodeShard,
  encodeShardOrder,
  FIRST_SHARD,
  loadXxh64,
  type ManifestRow,
  MAX_SHARD_ROWS,
  SHARD_ORDER,
  shardEnd,
  shardNames,
  startsShard,
  type Xxh64,
} from '../format/index.ts'
import {
  damaged,
  decodeTree,
  encodeTree,
  MODE_FILE,
  MODE_FOLDER,
  type NewObject,
  newObject,
  type ObjectType,
  type Oid,
  type TreeEntry,
} from './git-objects.ts'
import type { Objects } from './objects.ts'
import type { RowChange } from './types.ts'

/** A shard as a commit's trees name it; its rows are read on demand. */
interface Shard {
  readonly name: string
  readonly oid: Oid
  /** Path of its first row. */
  readonly first: string
}

type OnRows = (rows: number) => void

/** Manifests by the id of their git tree; `undefined` is the manifest without rows, which has no tree. */
export interface Manifests {
  /**
   * @param options.asWritten also rows that no checkout could write: a path that is a file and a folder
   * @param options.onRows called with how many more were read
   */
  rows(
    tree: Oid | undefined,
    options?: { readonly asWritten?: boolean; readonly onRows?: OnRows },
  ): Promise<readonly ManifestRow[]>
  under(tree: Oid | undefined, path: string): Promise<readonly ManifestRow[]>
  diff(before: Oid | undefined, after: Oid | undefined): AsyncIterable<RowChange>
  /**
   * The objects of a new manifest. Shards that a parent has as well are neither encoded nor hashed again.
   * @param onRows called with how many more are done
   * @throws PATH_UNSUPPORTED for rows with a path that is a file and a folder
   */
  plan(
    rows: readonly ManifestRow[],
    parents: readonly (Oid | undefined)[],
    onRows?: OnRows,
  ): Promise<{ readonly tree: Oid | undefined; readonly objects: readonly NewObject[] }>
  /** Each shard with its rows, all rules checked but that of `fileAndFolder`. @throws FORMAT_INVALID */
  check(tree: Oid | undefined, seen: (oid: Oid) => boolean): Promise<readonly Oid[]>
}

/** Rows kept in memory for the next manifest, which shares most shards: 0.2 KB a row. */
const MAX_CACHED_ROWS = 500_000
const MAX_CACHED_LISTS = 64

export async function readAs(objects: Objects, oid: Oid, type: ObjectType): Promise<Uint8Array> {
  const object = await objects.read(oid)
  if (object.type !== type) throw damaged(`object ${oid} of the history is no ${type}`)
  return object.bytes
}

export function openManifests(objects: Objects): Manifests {
  const lists = new Map<Oid, readonly Shard[]>()
  const cache = createShardCache()

  /** The shards in path order. */
  async function shardsOf(tree: Oid | undefined): Promise<readonly Shard[]> {
    if (tree === undefined) return []
    const known = lists.get(tree)
    if (known !== undefined) return known
    const shards = await readShardList(objects, tree, await loadXxh64())
    if (lists.size >= MAX_CACHED_LISTS) lists.clear()
    lists.set(tree, shards)
    return shards
  }

  async function rowsOf(shard: Shard): Promise<readonly ManifestRow[]> {
    const known = cache.get(shard.oid)
    if (known !== undefined) return known
    const rows = decodeShard(await readAs(objects, shard.oid, 'blob'))
    if (rows[0]?.path !== shard.first)
      throw damaged(`shard ${shard.name} does not begin as it should`)
    cache.set(shard.oid, rows)
    return rows
  }

  async function* arraysOf(shards: readonly Shard[]): AsyncGenerator<readonly ManifestRow[]> {
    let before: ManifestRow | undefined
    for (const shard of shards) {
      const rows = await rowsOf(shard)
      if (before !== undefined && compareUtf8(before.path, shard.first) >= 0) {
        throw damaged(`shard ${shard.name} overlaps the one before it`)
      }
      before = rows.at(-1)
      yield rows
    }
  }

  async function rows(
    tree: Oid | undefined,
    { asWritten = false, onRows }: { readonly asWritten?: boolean; readonly onRows?: OnRows } = {},
  ): Promise<readonly ManifestRow[]> {
    const all: ManifestRow[] = []
    for await (const some of arraysOf(await shardsOf(tree))) {
      for (const row of some) all.push(row)
      onRows?.(some.length)
    }
    const both = asWritten ? undefined : fileAndFolder(all)
    if (both !== undefined) throw damaged(`the manifest has ${both} as a file and as a folder`)
    return all
  }

  async function under(tree: Oid | undefined, path: string): Promise<readonly ManifestRow[]> {
    if (path === '') return rows(tree)
    const shards = await shardsOf(tree)
    const inside = `${path}/`
    const found: ManifestRow[] = []
    // The file itself, and what is in the folder, are apart: `a-b` sorts between `a` and `a/b`.
    const wanted = new Set([
      ...shards.slice(...range(shards, path, path)),
      // `0` is the character after `/`: no path in the folder sorts at or above it.
      ...shards.slice(...range(shards, inside, `${path}0`)),
    ])
    for await (const some of arraysOf([...wanted])) {
      for (const row of some) {
        if (row.path === path || row.path.startsWith(inside)) found.push(row)
      }
    }
    return found
  }

  async function* diff(before: Oid | undefined, after: Oid | undefined): AsyncGenerator<RowChange> {
    if (before === after) return
    const [a, b] = [await shardsOf(before), await shardsOf(after)]
    const inA = new Set(a.map((shard) => shard.oid))
    const inB = new Set(b.map((shard) => shard.oid))
    yield* diffSorted(
      arraysOf(a.filter((shard) => !inB.has(shard.oid))),
      arraysOf(b.filter((shard) => !inA.has(shard.oid))),
    )
  }

  async function plan(
    all: readonly ManifestRow[],
    parents: readonly (Oid | undefined)[],
    onRows?: OnRows,
  ): ReturnType<Manifests['plan']> {
    const both = fileAndFolder(all)
    if (both !== undefined) {
      throw new CxvError(
        'PATH_UNSUPPORTED',
        `${both} would be a file and a folder in one version`,
        {
          hint: `\`cxv add ${both}\` stages what it is now; then commit`,
          data: { path: both },
        },
      )
    }
    const xxh64 = await loadXxh64()
    const known = new Map<string, { readonly oid: Oid; readonly rows: readonly ManifestRow[] }>()
    for (const parent of parents) {
      for (const { oid, first } of await shardsOf(parent)) {
        const cached = cache.get(oid)
        if (cached !== undefined && !known.has(first)) known.set(first, { oid, rows: cached })
      }
    }
    const made: NewObject[] = []
    const unnamed: Omit<Shard, 'name'>[] = []
    for (let at = 0; at < all.length;) {
      const first = all[at]?.path ?? ''
      const old = known.get(first)
      if (old !== undefined && sameShard(all, at, old.rows, xxh64)) {
        unnamed.push({ oid: old.oid, first })
        at += old.rows.length
        onRows?.(old.rows.length)
        continue
      }
      const rowsHere = all.slice(at, shardEnd(all, at, xxh64))
      const shard = newObject('blob', encodeShard(rowsHere))
      cache.set(shard.oid, rowsHere)
      made.push(shard)
      unnamed.push({ oid: shard.oid, first })
      at += rowsHere.length
      onRows?.(rowsHere.length)
    }
    const names = shardNames(
      unnamed.map(({ first }) => first),
      xxh64,
    )
    const shards = unnamed.map((shard, i) => ({ ...shard, name: names[i] ?? FIRST_SHARD }))
    const trees = planTrees(shards)
    if (trees.tree !== undefined) lists.set(trees.tree, shards)
    return { tree: trees.tree, objects: [...made, ...trees.objects] }
  }

  async function check(
    tree: Oid | undefined,
    seen: (oid: Oid) => boolean,
  ): Promise<readonly Oid[]> {
    const xxh64 = await loadXxh64()
    const shards = await shardsOf(tree)
    const all = await rows(tree, { asWritten: true })
    let at = 0
    for (const shard of shards) {
      const { length } = await rowsOf(shard)
      if (!seen(shard.oid) && shardEnd(all, at, xxh64) !== at + length) {
        throw damaged(`shard ${shard.name} is not cut where it should be`)
      }
      at += length
    }
    return shards.map((shard) => shard.oid)
  }

  return { rows, under, diff, plan, check }
}

/** First and last shard that can hold a path of the range, for `slice`. */
function range(shards: readonly Shard[], from: string, to: string): [number, number] {
  let low = 0
  let high = shards.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (compareUtf8(shards[middle]?.first ?? '', from) <= 0) low = middle + 1
    else high = middle
  }
  const start = Math.max(0, low - 1)
  let end = low
  while (end < shards.length && compareUtf8(shards[end]?.first ?? '', to) <= 0) end++
  return [start, end]
}

/** Whether cutting `all` at `at` gives exactly these rows. */
function sameShard(
  all: readonly ManifestRow[],
  at: number,
  rows: readonly ManifestRow[],
  xxh64: Xxh64,
): boolean {
  for (let i = 0; i < rows.length; i++) {
    const [a, b] = [rows[i], all[at + i]]
    if (a === b) continue
    if (a === undefined || b === undefined) return false
    if (a.id !== b.id || a.path !== b.path) return false
    if (a.size !== b.size || a.executable !== b.executable) return false
  }
  const next = all[at + rows.length]
  return next === undefined || rows.length === MAX_SHARD_ROWS || startsShard(next.path, xxh64)
}

/** `manifest/first`, `manifest/order`, and the other shards under the first digit of their names. */
function planTrees(shards: readonly Shard[]): {
  readonly tree: Oid | undefined
  readonly objects: readonly NewObject[]
} {
  const [first] = shards
  if (first === undefined) return { tree: undefined, objects: [] }
  const order = newObject('blob', encodeShardOrder(shards.map((shard) => shard.first)))
  const objects = [order]
  const top: TreeEntry[] = [
    { mode: MODE_FILE, name: FIRST_SHARD, oid: first.oid },
    { mode: MODE_FILE, name: SHARD_ORDER, oid: order.oid },
  ]
  const folders = new Map<string, TreeEntry[]>()
  for (const { name, oid } of shards.slice(1)) {
    const digit = name.slice(0, 1)
    const folder = folders.get(digit) ?? []
    folder.push({ mode: MODE_FILE, name, oid })
    folders.set(digit, folder)
  }
  for (const [name, entries] of folders) {
    const folder = newObject('tree', encodeTree(entries))
    objects.push(folder)
    top.push({ mode: MODE_FOLDER, name, oid: folder.oid })
  }
  const tree = newObject('tree', encodeTree(top))
  return { tree: tree.oid, objects: [...objects, tree] }
}

async function readShardList(objects: Objects, tree: Oid, xxh64: Xxh64): Promise<readonly Shard[]> {
  const files = new Map<string, Oid>()
  for (const entry of decodeTree(await readAs(objects, tree, 'tree'))) {
    if (entry.mode !== MODE_FOLDER) {
      files.set(entry.name, entry.oid)
      continue
    }
    if (!/^[0-9a-f]$/.test(entry.name))
      throw damaged('a manifest has a folder that is no hex digit')
    for (const { name, oid } of decodeTree(await readAs(objects, entry.oid, 'tree'))) {
      if (!name.startsWith(entry.name)) throw damaged(`shard ${name} is in the wrong folder`)
      files.set(name, oid)
    }
  }
  const order = files.get(SHARD_ORDER)
  if (order === undefined) throw damaged('a manifest has no order of shards')
  files.delete(SHARD_ORDER)
  const firsts = decodeShardOrder(await readAs(objects, order, 'blob'))
  const names = shardNames(firsts, xxh64)
  const shards = firsts.map((first, i) => {
    const name = names[i] ?? FIRST_SHARD
    const oid = files.get(name)
    if (oid === undefined) throw damaged(`a manifest lacks its shard ${name}`)
    files.delete(name)
    return { name, oid, first }
  })
  if (files.size > 0) throw damaged('a manifest has a file that is none of its shards')
  return shards
}

/** A path that is both a file and a folder of these rows: a checkout could write neither. */
export function fileAndFolder(rows: readonly ManifestRow[]): string | undefined {
  const folders = new Set<string>()
  let lastFolder = ''
  for (const { path } of rows) {
    const folder = path.slice(0, Math.max(0, path.lastIndexOf('/')))
    if (folder === lastFolder) continue
    lastFolder = folder
    for (let at = folder; at !== '' && !folders.has(at);) {
      folders.add(at)
      at = at.slice(0, Math.max(0, at.lastIndexOf('/')))
    }
  }
  return folders.size === 0 ? undefined : rows.find((row) => folders.has(row.path))?.path
}

type Arrays = AsyncIterator<readonly ManifestRow[]>

/** One side of a merge: the rows of an array, then the next array's. */
function createCursor(arrays: Arrays): {
  row: () => ManifestRow | undefined
  advance: () => boolean
  refill: () => Promise<void>
} {
  let rows: readonly ManifestRow[] = []
  let at = 0
  return {
    row: () => rows[at],
    /** @returns whether the next array must be fetched */
    advance: () => ++at >= rows.length,
    async refill() {
      const next = await arrays.next()
      rows = next.done === true ? [] : next.value
      at = 0
    },
  }
}

/** Merges two sorted sides. Promises are made per shard, not per row. */
async function* diffSorted(before: Arrays, after: Arrays): AsyncGenerator<RowChange> {
  const a = createCursor(before)
  const b = createCursor(after)
  await a.refill()
  await b.refill()
  for (;;) {
    const [x, y] = [a.row(), b.row()]
    if (x === undefined && y === undefined) return
    const order = x === undefined ? 1 : y === undefined ? -1 : compareUtf8(x.path, y.path)
    if (x !== undefined && order < 0) yield { change: 'removed', path: x.path, before: x }
    else if (y !== undefined && order > 0) yield { change: 'added', path: y.path, after: y }
    else if (x !== undefined && y !== undefined && !sameRow(x, y)) {
      yield { change: 'changed', path: x.path, before: x, after: y }
    }
    if (order <= 0 && a.advance()) await a.refill()
    if (order >= 0 && b.advance()) await b.refill()
  }
}

const sameRow = (a: ManifestRow, b: ManifestRow): boolean =>
  a.id === b.id && a.size === b.size && a.executable === b.executable

function createShardCache(): {
  get(oid: Oid): readonly ManifestRow[] | undefined
  set(oid: Oid, rows: readonly ManifestRow[]): void
} {
  const shards = new Map<Oid, readonly ManifestRow[]>()
  let held = 0
  return {
    get: (oid) => shards.get(oid),
    set(oid, rows) {
      if (shards.has(oid)) return
      shards.set(oid, rows)
      held += rows.length
      for (const [old, oldRows] of shards) {
        if (held <= MAX_CACHED_ROWS) break
        shards.delete(old)
        held -= oldRows.length
      }
    },
  }
}
