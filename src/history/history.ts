import { join } from 'node:path'
import {
  type CommitId,
  type Context,
  CxvError,
  isCommitId,
  startTask,
  utf8,
} from '../base/index.ts'
import { encodeDataset, encodeTables } from '../format/index.ts'
import {
  lstatIfAny,
  makeFolder,
  pathExists,
  removePath,
  systemNow,
  writeFileAtomic,
} from '../io/index.ts'
import { checkHistory } from './check.ts'
import { type Commits, DATASET_FILE, MANIFEST_FOLDER, openCommits, TABLES_FILE } from './commits.ts'
import {
  damaged,
  decodeTag,
  decodeTree,
  encodeCommit,
  encodeTag,
  encodeTree,
  MAX_OBJECT_BYTES,
  MODE_FILE,
  MODE_FOLDER,
  type NewObject,
  newObject,
  type Oid,
  type TreeEntry,
} from './git-objects.ts'
import { type Manifests, openManifests, readAs } from './manifests.ts'
import { type Objects, openObjects } from './objects.ts'
import { newRefName } from './ref-names.ts'
import { openRefs, type Refs } from './refs.ts'
import { damagedFiles, repairFiles } from './repair.ts'
import { resolveRevision } from './revisions.ts'
import { exportPack, importPack } from './transfer.ts'
import type { CommitFacts, DatasetCommit, History, Person } from './types.ts'

export interface HistoryOptions {
  /** For waiting on the lock of the refs, and the clock of the reflog. */
  readonly ctx?: Context
  /** Who moves the refs, for the reflog: asked only when one moves. */
  readonly person?: () => Promise<Person>
}

const quietContext = (): Context => ({
  emit: () => undefined,
  signal: new AbortController().signal,
  now: systemNow,
  random: (length) => globalThis.crypto.getRandomValues(new Uint8Array(length)),
})

/** In the git folder while a repair has left holes that a fetch may fill. */
const INCOMPLETE = 'cxv-incomplete'

// gc.auto 0: git must not pack or prune behind our back when somebody looks at the history with it.
const CONFIG = `[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
[gc]
\tauto = 0
`

/**
 * Makes an empty history: a bare git repository whose HEAD is the unborn `initialBranch`. What a killed
 * call left is completed.
 * @param folder absolute path of `.cxv/git`
 * @throws REF_INVALID
 */
export async function createHistory(
  folder: string,
  initialBranch: string,
  options: HistoryOptions = {},
): Promise<History> {
  newRefName('heads', initialBranch)
  for (const name of ['objects/pack', 'objects/info', 'refs/heads', 'refs/tags']) {
    makeFolder(join(folder, name))
  }
  writeFileAtomic(join(folder, 'config'), utf8(CONFIG))
  // HEAD makes a folder a history, so it comes last.
  const head = join(folder, 'HEAD')
  if (!pathExists(head)) writeFileAtomic(head, utf8(`ref: refs/heads/${initialBranch}\n`))
  return openHistory(folder, options)
}

/** @throws REPO_FORMAT when the folder is no git repository */
export function openHistory(folder: string, options: HistoryOptions = {}): Promise<History> {
  if (lstatIfAny(join(folder, 'HEAD'))?.isFile() !== true || !pathExists(join(folder, 'objects'))) {
    return Promise.reject(
      new CxvError('REPO_FORMAT', `${folder} holds no history`, {
        hint: '`cxv fsck` says what else is missing; `cxv clone` makes a new copy from a remote',
        data: { folder },
      }),
    )
  }
  const objects = openObjects(folder)
  const commits = openCommits(objects)
  const manifests = openManifests(objects)
  const person = options.person ?? (() => Promise.resolve({ name: 'cxv', email: 'cxv@localhost' }))
  const refs = openRefs(folder, options.ctx ?? quietContext(), person)
  return Promise.resolve(compose({ folder, objects, commits, manifests, refs }))
}

interface Parts {
  readonly folder: string
  readonly objects: Objects
  readonly commits: Commits
  readonly manifests: Manifests
  readonly refs: Refs
}

function compose({ folder, objects, commits, manifests, refs }: Parts): History {
  const treeOf = async (id: CommitId | null): Promise<Oid | undefined> =>
    id === null ? undefined : commits.manifestTree(id)

  async function read(id: CommitId): Promise<DatasetCommit> {
    const found = await commits.dataset(id)
    if (found !== undefined) return found
    throw new CxvError('REV_UNKNOWN', `${id.slice(0, 10)} is a run's record, not a dataset`, {
      hint: `its dataset is ${id.slice(0, 10)}^`,
      data: { commit: id },
    })
  }

  function writeCommitObject(
    input: Parameters<History['writeRecordCommit']>[0] | Parameters<History['writeCommit']>[0],
    tree: readonly TreeEntry[],
    made: readonly NewObject[],
    ctx = quietContext(),
  ): CommitId {
    const root = newObject('tree', encodeTree(tree))
    const commit = newObject('commit', encodeCommit({ ...input, tree: root.oid }))
    const all = [commit, root, ...made]
    const total = all.reduce((sum, object) => sum + object.bytes.length, 0)
    const task = startTask(ctx, 'writing the commit', 'bytes', total)
    try {
      objects.write(all, (bytes) => task.advance(bytes))
    } finally {
      task.end()
    }
    return commit.oid as CommitId
  }

  return {
    head: refs.head,
    async setHead(target, reason) {
      if (isCommitId(target) && !objects.has(target)) throw noSuchObject(target)
      await refs.setHead(target, reason)
    },
    resolve: (revision) => resolveRevision(revision, { refs, commits, objects }),
    read,
    has: (id) => Promise.resolve(objects.has(id)),
    log: (from, options = {}) => commits.log(from, options.limit ?? Infinity),
    async manifest(id, { asWritten = false, ctx } = {}) {
      if (id === null) return []
      const tree = await treeOf(id)
      if (ctx === undefined) return manifests.rows(tree, { asWritten })
      const { files } = await read(id)
      const task = startTask(ctx, 'reading the list of files', 'files', files)
      try {
        return await manifests.rows(tree, { asWritten, onRows: (rows) => task.advance(rows) })
      } finally {
        task.end()
      }
    },
    rowsUnder: async (id, path) => manifests.under(await treeOf(id), path),
    async *diff(before, after) {
      yield* manifests.diff(await treeOf(before), await treeOf(after))
    },
    async writeCommit(input, ctx = quietContext()) {
      const parentTrees: (Oid | undefined)[] = []
      for (const parent of input.parents) parentTrees.push(await treeOf(parent))
      const listing = startTask(ctx, 'listing files', 'files', input.rows.length)
      let manifest: Awaited<ReturnType<Manifests['plan']>>
      try {
        manifest = await manifests.plan(input.rows, parentTrees, (rows) => listing.advance(rows))
      } finally {
        listing.end()
      }
      const bytes = input.rows.reduce((sum, row) => sum + row.size, 0)
      const dataset = newObject('blob', encodeDataset({ files: input.rows.length, bytes }))
      const tables = newObject('blob', encodeTables(input.tables))
      const tree = [
        { mode: MODE_FILE, name: DATASET_FILE, oid: dataset.oid },
        { mode: MODE_FILE, name: TABLES_FILE, oid: tables.oid },
      ]
      if (manifest.tree !== undefined) {
        tree.push({ mode: MODE_FOLDER, name: MANIFEST_FOLDER, oid: manifest.tree })
      }
      return writeCommitObject(input, tree, [dataset, tables, ...manifest.objects], ctx)
    },
    writeRecordCommit(input) {
      const { tree, made } = recordTree(input.files)
      return Promise.resolve(writeCommitObject(input, tree, made))
    },
    async tag(id) {
      const { type, bytes } = await objects.read(id)
      if (type !== 'tag') return undefined
      const { name, message, tagger, timeMs } = decodeTag(id, bytes)
      return { name, message, tagger, timeMs }
    },
    writeTag(input) {
      const tag = newObject('tag', encodeTag(input))
      objects.write([tag])
      return Promise.resolve(tag.oid as CommitId)
    },
    async facts(id): Promise<CommitFacts> {
      const { tree: _tree, ...facts } = await commits.commit(id)
      return facts
    },
    async readFile(id, path, maxBytes = MAX_OBJECT_BYTES) {
      const oid = await commits.entry(id, path)
      if (oid === undefined) return undefined
      const bytes = await readAs(objects, oid, 'blob')
      if (bytes.length <= maxBytes) return plain(bytes)
      throw new CxvError('TOO_LARGE', `${path} has ${bytes.length} bytes; at most ${maxBytes}`, {
        data: { path, size: bytes.length, maxBytes },
      })
    },
    ref: refs.ref,
    refs: refs.refs,
    async casRef(name, from, to, reason) {
      if (to !== null && !objects.has(to)) throw noSuchObject(to)
      await refs.casRef(name, from, to, reason)
    },
    reflog: refs.reflog,
    isAncestor: commits.isAncestor,
    async exportPack(want, have) {
      const pack = await exportPack(objects, commits, want, have)
      return pack === undefined ? undefined : plain(pack)
    },
    importPack(pack) {
      return Promise.resolve().then(() => importPack(objects, pack))
    },
    async check(ctx = quietContext()) {
      const task = startTask(ctx, 'checking history', 'commits')
      try {
        return await checkHistory({ refs, commits, manifests, objects }, () => task.advance(1))
      } finally {
        task.end()
      }
    },
    damagedFiles: () => Promise.resolve().then(() => damagedFiles(folder)),
    repairFiles: (badFolder) =>
      Promise.resolve().then(() => repairFiles(folder, badFolder, objects)),
    incomplete: () => pathExists(join(folder, INCOMPLETE)),
    setIncomplete(incomplete) {
      if (incomplete) writeFileAtomic(join(folder, INCOMPLETE), utf8(''))
      else removePath(join(folder, INCOMPLETE))
    },
  }
}

/** Not a Buffer: those compare unequal to other bytes. */
const plain = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)

/** A ref must never point at bytes that are not there. */
const noSuchObject = (id: Oid): CxvError => damaged(`no ref can point at ${id}: it is not here`)

/** Files named `a` or `a/b`. @throws Error for other names: our own mistake */
function recordTree(files: ReadonlyMap<string, Uint8Array>): {
  readonly tree: readonly TreeEntry[]
  readonly made: readonly NewObject[]
} {
  const made: NewObject[] = []
  const tree: TreeEntry[] = []
  const folders = new Map<string, TreeEntry[]>()
  for (const [path, bytes] of files) {
    const [top = '', name, more] = path.split('/')
    if (more !== undefined || bytes.length > MAX_OBJECT_BYTES) {
      throw new Error(`cannot record ${path} (${bytes.length} bytes)`)
    }
    const blob = newObject('blob', bytes)
    made.push(blob)
    const entry = { mode: MODE_FILE, name: name ?? top, oid: blob.oid }
    if (name === undefined) tree.push(entry)
    else folders.set(top, [...(folders.get(top) ?? []), entry])
  }
  for (const [name, entries] of folders) {
    const folder = newObject('tree', encodeTree(entries))
    made.push(folder)
    tree.push({ mode: MODE_FOLDER, name, oid: folder.oid })
  }
  // What we would refuse to read must not be written.
  for (const entry of [...folders.values(), tree]) decodeTree(encodeTree(entry))
  return { tree, made }
}
