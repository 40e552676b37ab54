import type { CommitId } from '../base/index.ts'
import type { Commits } from './commits.ts'
import { damaged, decodeTag, decodeTree, linksOf, MODE_FOLDER, type Oid } from './git-objects.ts'
import {
  encodePack,
  type IndexedObject,
  MAX_PACK_BYTES,
  type PackedObject,
  scanPack,
} from './git-pack.ts'
import { readAs } from './manifests.ts'
import type { Objects } from './objects.ts'

/** A pack of all that `want` reaches and `have` does not; undefined when there is nothing. */
export async function exportPack(
  objects: Objects,
  commits: Commits,
  want: readonly CommitId[],
  have: readonly CommitId[],
): Promise<Uint8Array | undefined> {
  const oids = await missing(objects, commits, want, have)
  if (oids.length === 0) return undefined
  const packed: PackedObject[] = []
  let bytes = 0
  for (const oid of oids) {
    const object = await objects.packed(oid)
    bytes += object.entry.length
    packed.push(object)
    // encodePack would refuse it as well, after all of it was read.
    if (bytes > MAX_PACK_BYTES) break
  }
  return encodePack(packed)
}

/** In the order of git's own packs: tags and commits, newest first, then trees and blobs. */
async function missing(
  objects: Objects,
  commits: Commits,
  want: readonly CommitId[],
  have: readonly CommitId[],
): Promise<readonly Oid[]> {
  const seen = new Set<Oid>()
  const known = have.filter((id) => objects.has(id))
  for (const id of known) seen.add(id)
  const theirs = await reach(commits, await commits.peelAll(known))
  const result: Oid[] = []
  const next: CommitId[] = []
  for (const id of want) {
    let at: Oid = id
    for (
      let object = await objects.read(at);
      object.type === 'tag';
      object = await objects.read(at)
    ) {
      if (!seen.has(at)) result.push(at)
      seen.add(at)
      at = decodeTag(at, object.bytes).target
    }
    next.push(await commits.peel(at))
  }
  const trees: Oid[] = []
  const edges = new Set<CommitId>()
  for (let at = 0; at < next.length; at++) {
    const id = next[at]
    if (id === undefined || seen.has(id) || theirs.has(id)) continue
    seen.add(id)
    result.push(id)
    const { tree, parents } = await commits.commit(id)
    trees.push(tree)
    for (const parent of parents) {
      if (theirs.has(parent)) edges.add(parent)
      else next.push(parent)
    }
  }
  // What the commits at the edge hold is there already: most shards of the new ones.
  for (const id of edges)
    await walkTree(objects, (await commits.commit(id)).tree, seen, () => undefined)
  const blobs: Oid[] = []
  for (const tree of trees) {
    await walkTree(objects, tree, seen, (oid, folder) => (folder ? result : blobs).push(oid))
  }
  return [...result, ...blobs]
}

async function reach(
  commits: Commits,
  from: ReadonlySet<CommitId>,
): Promise<ReadonlySet<CommitId>> {
  const found = new Set(from)
  for (const id of found) {
    for (const parent of (await commits.commit(id)).parents) found.add(parent)
  }
  return found
}

/** Deeper trees than cxv's own (manifest/a/shard) are hostile or foreign. */
const MAX_DEPTH = 16

async function walkTree(
  objects: Objects,
  tree: Oid,
  seen: Set<Oid>,
  visit: (oid: Oid, folder: boolean) => void,
  depth = 0,
): Promise<void> {
  if (seen.has(tree)) return
  if (depth > MAX_DEPTH) throw damaged(`tree ${tree} is too deep`)
  seen.add(tree)
  visit(tree, true)
  for (const { mode, oid } of decodeTree(await readAs(objects, tree, 'tree'))) {
    if (mode === MODE_FOLDER) await walkTree(objects, oid, seen, visit, depth + 1)
    else if (!seen.has(oid)) {
      seen.add(oid)
      visit(oid, false)
    }
  }
}

/**
 * Checks every object of a pack from outside, then adds it. An object that names one which is neither in
 * the pack nor here refuses the whole pack: history has no holes.
 */
export function importPack(objects: Objects, pack: Uint8Array): void {
  const entries: IndexedObject[] = []
  const here = new Set<Oid>()
  const links = new Set<Oid>()
  for (const { object, at } of scanPack(pack)) {
    if (here.has(at.oid)) throw damaged('a history pack has an object twice')
    here.add(at.oid)
    entries.push(at)
    for (const link of linksOf(at.oid, object)) links.add(link)
  }
  for (const link of links) {
    if (!here.has(link) && !objects.has(link)) {
      throw damaged(`a history pack lacks object ${link}, which it builds on`)
    }
  }
  if (entries.some(({ oid }) => !objects.has(oid))) objects.addPack(pack, entries)
}
