import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type CommitId,
  type ContentId,
  type Context,
  compareUtf8,
  utf8,
} from '../../src/base/index.ts'
import { createHistory, openHistory } from '../../src/history/index.ts'
import type { ManifestRow } from '../../src/history/types.ts'
import { pathExists } from '../../src/io/index.ts'
import type { RepoConfig, Repository } from '../../src/repo/types.ts'
import { createStore, openStore } from '../../src/store/index.ts'
import type { Store } from '../../src/store/types.ts'
import { testContext } from './context.ts'

const person = { name: 'A. Tester', email: 'a@example.org' }

/** A store and a history, as sync sees a repository; no work tree, no stage. */
export interface BareRepo extends Repository {
  /** Commits these files on a branch (default main). Bytes not given before are stored. */
  commit(
    files: Readonly<Record<string, Uint8Array>>,
    options?: { branch?: string; message?: string; from?: CommitId | null },
  ): Promise<CommitId>
  /** A run's record on a commit, with files in the store. */
  run(id: string, on: CommitId, files: Readonly<Record<string, Uint8Array>>): Promise<CommitId>
  read(commit: CommitId, path: string): Promise<Uint8Array>
  remove(): Promise<void>
}

export async function bareRepo(at?: string, ctx: Context = testContext()): Promise<BareRepo> {
  const root = at ?? (await mkdtemp(join(tmpdir(), 'cxv-sync-')))
  const folder = join(root, '.cxv')
  const git = join(folder, 'git')
  const history = pathExists(join(git, 'HEAD'))
    ? await openHistory(git, { ctx })
    : await createHistory(git, 'main', { ctx })
  await createStore(folder)
  let store: Promise<Store> | undefined
  let config: RepoConfig = { version: 1, remotes: {}, tables: [], defaults: {} }
  const release = async (): Promise<void> => {
    const open = store
    store = undefined
    await (await open)?.close()
  }
  const stamp = (message: string) => ({
    message,
    author: person,
    timeMs: Date.now(),
    zoneMinutes: 0,
  })
  const notHere = (): never => {
    throw new Error('a bare repository has no work tree')
  }
  const repo: BareRepo = {
    root,
    folder,
    history,
    store: () => (store ??= openStore(ctx, folder)),
    releaseStore: release,
    config: () => Promise.resolve(config),
    updateConfig: (change) => Promise.resolve((config = change(config))),
    identity: () => Promise.resolve(person),
    withWriteLock: (_what, fn) => fn(),
    stagedRows: notHere,
    stagedRow: notHere,
    changes: () => Promise.resolve({ paths: [], tables: false }),
    toRepoPath: notHere,
    [Symbol.asyncDispose]: release,
    async commit(files, options = {}) {
      const ref = `refs/heads/${options.branch ?? 'main'}`
      const parent = options.from === undefined ? await history.ref(ref) : options.from
      const rows = new Map((await history.manifest(parent)).map((row) => [row.path, row]))
      const s = await repo.store()
      for (const [path, bytes] of Object.entries(files)) {
        const id = await s.put(bytes)
        rows.set(path, { path, size: bytes.length, executable: false, id })
      }
      const sorted = [...rows.values()].sort((a, b) => compareUtf8(a.path, b.path))
      const id = await history.writeCommit({
        rows: sorted,
        tables: [],
        parents: parent === null ? [] : [parent],
        ...stamp(options.message ?? 'data'),
      })
      await history.casRef(ref, await history.ref(ref), id, 'commit')
      return id
    },
    async run(id, on, files) {
      const s = await repo.store()
      const contents: { id: ContentId; name: string; size: number }[] = []
      for (const [name, bytes] of Object.entries(files)) {
        contents.push({ id: await s.put(bytes), name, size: bytes.length })
      }
      const commit = await history.writeRecordCommit({
        files: new Map([
          ['run.json', utf8('{}')],
          ['contents.json', utf8(JSON.stringify(contents))],
        ]),
        parents: [on],
        ...stamp(`run ${id}`),
      })
      await history.casRef(`refs/runs/${id}`, null, commit, 'run')
      return commit
    },
    async read(commit, path) {
      const rows = await history.rowsUnder(commit, path)
      const row = rows[0] as ManifestRow
      return (await repo.store()).read(row.id)
    },
    async remove() {
      await release()
      await rm(root, { recursive: true, force: true })
    },
  }
  return repo
}

export const randomFile = (length: number): Uint8Array => new Uint8Array(randomBytes(length))

/** Many small files in one commit: added in one go, so that they lie in one pack. */
export async function commitMany(repo: BareRepo, count: number, prefix = 'f'): Promise<CommitId> {
  const { mkdir, writeFile } = await import('node:fs/promises')
  const folder = join(repo.root, prefix)
  await mkdir(folder, { recursive: true })
  const files = Array.from({ length: count }, (_, i) => ({
    path: `${prefix}/${String(i).padStart(6, '0')}`,
    absolutePath: join(folder, String(i)),
  }))
  for (const [i, { absolutePath }] of files.entries()) {
    await writeFile(absolutePath, `file ${prefix} ${i} ${'x'.repeat(i % 500)}`)
  }
  const rows: ManifestRow[] = []
  for await (const batch of (await repo.store()).addFiles(files)) {
    for (const file of batch) {
      if (file.status === 'failed') throw new Error(file.message)
      rows.push({ path: file.path, size: Number(file.stat.size), executable: false, id: file.id })
    }
  }
  const parent = await repo.history.ref('refs/heads/main')
  const before = await repo.history.manifest(parent)
  const id = await repo.history.writeCommit({
    rows: [...before, ...rows].sort((a, b) => compareUtf8(a.path, b.path)),
    tables: [],
    parents: parent === null ? [] : [parent],
    message: prefix,
    author: person,
    timeMs: Date.now(),
    zoneMinutes: 0,
  })
  await repo.history.casRef('refs/heads/main', parent, id, 'commit')
  await rm(folder, { recursive: true })
  return id
}
