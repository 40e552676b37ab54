import type { CommitId } from '../base/index.ts'
import { decodeDataset, decodeTables } from '../format/index.ts'
import {
  damaged,
  decodeCommit,
  decodeTag,
  decodeTree,
  MODE_FOLDER,
  type Oid,
  type ReadCommit,
} from './git-objects.ts'
import { readAs } from './manifests.ts'
import type { Objects } from './objects.ts'
import type { DatasetCommit } from './types.ts'

/** Commits and the walks over them. An annotated tag stands for the commit it names. */
export interface Commits {
  /** The commit that a commit or tag id stands for. */
  peel(id: Oid): Promise<CommitId>
  peelAll(ids: readonly Oid[]): Promise<ReadonlySet<CommitId>>
  commit(id: CommitId): Promise<ReadCommit>
  /** Undefined for a commit that holds records, not a dataset. */
  dataset(id: CommitId): Promise<DatasetCommit | undefined>
  manifestTree(id: CommitId): Promise<Oid | undefined>
  /** Object of a path in the commit's tree. */
  entry(id: CommitId, path: string): Promise<Oid | undefined>
  log(from: readonly CommitId[], limit: number): AsyncIterable<DatasetCommit>
  isAncestor(ancestor: CommitId, of: CommitId): Promise<boolean>
}

export const DATASET_FILE = 'dataset.json'
export const TABLES_FILE = 'tables.json'
export const MANIFEST_FOLDER = 'manifest'

const MAX_TAG_CHAIN = 5
const MAX_CACHED_COMMITS = 100_000

export function openCommits(objects: Objects): Commits {
  const commits = new Map<Oid, ReadCommit>()

  async function peel(id: Oid): Promise<CommitId> {
    if (commits.has(id)) return id as CommitId
    let at = id
    for (let i = 0; i <= MAX_TAG_CHAIN; i++) {
      const object = await objects.read(at)
      if (object.type === 'commit') {
        if (commits.size >= MAX_CACHED_COMMITS) commits.clear()
        commits.set(at, decodeCommit(at as CommitId, object.bytes))
        return at as CommitId
      }
      if (object.type !== 'tag') throw damaged(`${id} is no commit`)
      at = decodeTag(at, object.bytes).target
    }
    throw damaged(`${id} is a tag of a tag of a tag`)
  }

  async function peelAll(ids: readonly Oid[]): Promise<ReadonlySet<CommitId>> {
    const found = new Set<CommitId>()
    for (const id of ids) found.add(await peel(id))
    return found
  }

  async function commit(id: CommitId): Promise<ReadCommit> {
    const found = commits.get(await peel(id))
    if (found !== undefined) return found
    return decodeCommit(id, await readAs(objects, id, 'commit'))
  }

  async function entry(id: CommitId, path: string): Promise<Oid | undefined> {
    let at = (await commit(id)).tree
    const parts = path.split('/')
    for (const [i, part] of parts.entries()) {
      const found = decodeTree(await readAs(objects, at, 'tree')).find((e) => e.name === part)
      const wantFolder = i < parts.length - 1
      if (found === undefined || (wantFolder && found.mode !== MODE_FOLDER)) return undefined
      at = found.oid
    }
    return at
  }

  async function dataset(id: CommitId): Promise<DatasetCommit | undefined> {
    const { tree, ...facts } = await commit(id)
    const entries = decodeTree(await readAs(objects, tree, 'tree'))
    const oidOf = (name: string): Oid | undefined => entries.find((e) => e.name === name)?.oid
    const [datasetOid, tablesOid] = [oidOf(DATASET_FILE), oidOf(TABLES_FILE)]
    if (datasetOid === undefined) return undefined
    if (tablesOid === undefined) throw damaged(`commit ${id} has no ${TABLES_FILE}`)
    return {
      ...facts,
      ...decodeDataset(await readAs(objects, datasetOid, 'blob')),
      tables: decodeTables(await readAs(objects, tablesOid, 'blob')),
    }
  }

  async function* ancestors(from: readonly CommitId[]): AsyncGenerator<ReadCommit> {
    const seen = new Set<Oid>(from)
    const next = [...from]
    for (let id = next.pop(); id !== undefined; id = next.pop()) {
      const found = await commit(id)
      yield found
      for (const parent of found.parents) {
        if (!seen.has(parent)) next.push(parent)
        seen.add(parent)
      }
    }
  }

  /**
   * Newest first, a parent never before its child. While one commit is at hand, all that is left are its
   * ancestors, so a straight history is read only as far as it is asked for; at the first fork the rest
   * is counted (Kahn's topological order), whatever the clocks of its authors said.
   */
  async function* ordered(from: readonly CommitId[]): AsyncGenerator<ReadCommit> {
    let ready: ReadCommit[] = []
    for (const id of await peelAll(from)) ready.push(await commit(id))
    let children: Map<Oid, number> | undefined
    const emitted = new Set<Oid>()
    while (ready.length > 0) {
      if (ready.length > 1 && children === undefined) {
        children = new Map()
        for await (const { parents } of ancestors(ready.map(({ id }) => id))) {
          for (const parent of parents) children.set(parent, (children.get(parent) ?? 0) + 1)
        }
        ready = ready.filter(({ id }) => (children?.get(id) ?? 0) === 0)
      }
      ready.sort((a, b) => a.timeMs - b.timeMs)
      const newest = ready.pop()
      if (newest === undefined) return
      emitted.add(newest.id)
      yield newest
      for (const parent of new Set(newest.parents)) {
        const left =
          (children?.get(parent) ?? 1) - newest.parents.filter((p) => p === parent).length
        children?.set(parent, left)
        if (left <= 0 && !emitted.has(parent)) ready.push(await commit(parent))
      }
    }
  }

  async function* log(from: readonly CommitId[], limit: number): AsyncGenerator<DatasetCommit> {
    let left = limit
    for await (const { id } of ordered(from)) {
      if (left <= 0) return
      const found = await dataset(id)
      if (found === undefined) continue
      left--
      yield found
    }
  }

  async function isAncestor(ancestor: CommitId, of: CommitId): Promise<boolean> {
    const wanted = await peel(ancestor)
    for await (const { id } of ancestors([await peel(of)])) if (id === wanted) return true
    return false
  }

  return {
    peel,
    peelAll,
    commit,
    dataset,
    entry,
    log,
    isAncestor,
    manifestTree: (id) => entry(id, MANIFEST_FOLDER),
  }
}
