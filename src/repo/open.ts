import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path'
import { compareUtf8, type Context, CxvError } from '../base/index.ts'
import { createHistory, openHistory } from '../history/index.ts'
import type { History, ManifestRow, Person } from '../history/types.ts'
import { acquireLock, hostname, type Lock, makeFolder, pathExists, userName } from '../io/index.ts'
import { createStore, openStore } from '../store/index.ts'
import type { Store } from '../store/types.ts'
import { EMPTY_CONFIG, readConfig, writeConfig } from './config.ts'
import { gitSetting } from './git-around.ts'
import { applyStage, readStage } from './stage.ts'
import { computeStatus } from './status.ts'
import type { RepoConfig, Repository } from './types.ts'

const FOLDER = '.cxv'
/** A writer may be adding a whole archive: others wait this long for it. */
const WRITER_WAIT_MS = 10 * 60_000

/**
 * Finds `.cxv` here or above and opens it.
 * @throws CxvError REPO_NOT_FOUND, CONFIG_INVALID, REPO_FORMAT
 */
export async function openRepository(ctx: Context, cwd: string): Promise<Repository> {
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    if (pathExists(join(folder, FOLDER))) return openAt(ctx, folder)
    if (dirname(folder) === folder) {
      throw new CxvError('REPO_NOT_FOUND', `there is no cxv repository in ${cwd} or above`, {
        hint: '`cxv init` makes one, `cxv clone URL` brings one',
      })
    }
  }
}

/** Makes an empty repository. @throws CxvError REPO_EXISTS */
export async function initRepository(
  ctx: Context,
  folder: string,
  options: { readonly branch: string },
): Promise<Repository> {
  const root = resolve(folder)
  const dir = join(root, FOLDER)
  if (pathExists(join(dir, 'config.json'))) {
    throw new CxvError('REPO_EXISTS', `${root} is a cxv repository already`, {
      hint: '`cxv status`',
    })
  }
  makeFolder(dir)
  await createHistory(join(dir, 'git'), options.branch, { ctx })
  await createStore(dir)
  // The configuration comes last: a folder without one is no repository yet, and init can be run again.
  writeConfig(dir, EMPTY_CONFIG)
  return openAt(ctx, root)
}

async function openAt(ctx: Context, root: string): Promise<Repository> {
  const folder = join(root, FOLDER)
  await readConfig(folder)
  let person: Promise<Person> | undefined
  // git is asked once, and only by what records a person: starting it takes longer than many a verb.
  const who = (): Promise<Person> => (person ??= identity(root))
  const history: History = await openHistory(join(folder, 'git'), { ctx, person: who })
  let store: Promise<Store> | undefined
  let lock: Lock | undefined
  let depth = 0
  const openedStore = (): Promise<Store> => {
    // Whoever has it may be adding a whole archive; giving up would cost a finished training its record.
    store ??= openStore(ctx, folder, { waitMs: WRITER_WAIT_MS })
    return store
  }
  const stagedRows = async (): Promise<readonly ManifestRow[]> => {
    const { commit } = await history.head()
    const stage = await readStage((await openedStore()).cache)
    return applyStage(await history.manifest(commit, { asWritten: true, ctx }), stage)
  }
  const repo: Repository = {
    root,
    folder,
    history,
    store: openedStore,
    async releaseStore() {
      const open = store
      store = undefined
      // One that failed to open told so to whoever asked for it.
      const opened = await open?.catch(() => undefined)
      await opened?.close()
    },
    config: () => readConfig(folder),
    async updateConfig(change) {
      return repo.withWriteLock('change the configuration', async () => {
        const next: RepoConfig = change(await readConfig(folder))
        writeConfig(folder, next)
        return next
      })
    },
    identity: who,
    async withWriteLock(what, fn) {
      if (depth === 0) {
        // The holder may need the index to end: who waits for the lock must not have that.
        const path = join(folder, 'lock')
        lock = await acquireLock(ctx, path, what, WRITER_WAIT_MS, repo.releaseStore)
      }
      depth++
      try {
        return await fn()
      } finally {
        depth--
        if (depth === 0) {
          lock?.release()
          lock = undefined
        }
      }
    },
    stagedRows,
    async stagedRow(path) {
      return (await stagedRows()).find((row) => row.path === path)
    },
    async changes() {
      const { staged, unstaged, tablesChanged } = await computeStatus(ctx, repo)
      const changed = unstaged.filter(({ state }) => state !== 'untracked')
      const paths = [...new Set([...staged, ...changed].map(({ path }) => path))].sort(compareUtf8)
      return { paths, tables: tablesChanged }
    },
    toRepoPath: (cwd, path) => toRepoPath(root, cwd, path),
    async [Symbol.asyncDispose]() {
      await repo.releaseStore()
    },
  }
  return repo
}

/** @throws CxvError PATH_OUTSIDE */
function toRepoPath(root: string, cwd: string, path: string): string {
  const absolute = isAbsolute(path) ? path : resolve(cwd, path)
  const inside = relative(root, absolute)
  if (inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside)) {
    throw new CxvError('PATH_OUTSIDE', `${path} is outside the repository ${root}`, {
      hint: `give a path below ${root}, or copy the file into it`,
      data: { path, root },
    })
  }
  const parts = inside.split(sep)
  if (/^\.(cxv|git)$/i.test(parts[0] ?? '')) {
    throw new CxvError('PATH_OUTSIDE', `${path} is cxv's own or git's, and is never tracked`, {
      hint: 'give a path of your data',
      data: { path },
    })
  }
  return parts.join('/')
}

async function identity(root: string): Promise<Person> {
  const env = process.env
  const user = userName()
  return {
    name: env['CXV_AUTHOR_NAME'] ?? (await gitSetting(root, 'user.name')) ?? user,
    email:
      env['CXV_AUTHOR_EMAIL'] ?? (await gitSetting(root, 'user.email')) ?? `${user}@${hostname()}`,
  }
}
