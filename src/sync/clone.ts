import { basename, join, resolve } from 'node:path'
import { parseRemoteUrl } from '../backend/index.ts'
import type { Backend } from '../backend/types.ts'
import { CxvError, isRecord, parseJsonBytes, prettyJsonBytes } from '../base/index.ts'
import { decodeRemoteFormat, refNameOfKey } from '../format/index.ts'
import {
  namesIn,
  pathExists,
  readFileIfAny,
  removePath,
  TEMPORARY_NAME,
  writeFileAtomic,
} from '../io/index.ts'
import {
  beginCheckout,
  type CheckoutAhead,
  checkoutCommit,
  initRepository,
  openRepository,
} from '../repo/index.ts'
import type { CommandContextLike } from './context.ts'
import { emptyRemote, fetchState } from './fetch.ts'
import { CLONE_MARKER, withoutPartial } from './pull.ts'
import { FORMAT_KEY, readRemote, trusting } from './state.ts'
import type { CloneOptions, CloneResult, Remote } from './types.ts'

const HEADS = 'refs/heads/'
const REMOTE_NAME = 'origin'

/** A person who knows git clones the folder they work in. */
function workRepository(url: string, cwd: string): CxvError | undefined {
  const address = parseRemoteUrl(url, cwd)
  if (address.kind !== 'file' || !pathExists(join(address.path, '.cxv', 'config.json'))) {
    return undefined
  }
  return new CxvError(
    'REMOTE_INVALID',
    `${address.path} is a repository to work in, not a remote`,
    {
      hint: 'a remote is a place of its own: there, `cxv remote add origin /path/to/an/empty/folder` and `cxv push`; then clone that',
      data: { path: address.path },
    },
  )
}

/** The folder a clone makes when none is named: the last part of the URL. */
export function folderOfUrl(url: string, cwd: string): string {
  const { path } = parseRemoteUrl(url, cwd)
  const name = basename(path).replace(/\.cxv$/, '')
  if (name === '' || name === '~' || name.startsWith('.')) {
    throw new CxvError('USAGE', `name the folder to clone ${url} into`, {
      hint: `cxv clone ${url} FOLDER`,
    })
  }
  return name
}

/**
 * Makes a repository of a remote: all its branches, tags and runs, their bytes unless told otherwise,
 * and the work tree of one branch. An interrupted clone is finished by the same call, or by pull.
 * @param folder absolute; absent, empty, or an interrupted clone of the same URL
 * @throws CxvError REPO_EXISTS, LOCAL_CHANGES, REMOTE_EMPTY, REV_UNKNOWN, and what fetch throws
 */
export async function clone(
  ctx: CommandContextLike,
  url: string,
  folder: string,
  backend: Backend,
  options: CloneOptions,
): Promise<CloneResult> {
  const root = resolve(folder)
  const dir = join(root, '.cxv')
  const remote: Remote = { name: REMOTE_NAME, backend }
  const resumed = await checkFolder(root, dir, url)
  // Asked before anything is made: a mistyped URL must leave no folder behind.
  const found = await backend.get(FORMAT_KEY)
  if (found === undefined) throw workRepository(url, root) ?? emptyRemote(remote)
  const format = trusting(remote, FORMAT_KEY, () => decodeRemoteFormat(found.bytes))
  // Nor must a mistyped branch.
  if (options.branch !== undefined) {
    chooseBranch(remote, await branchesOf(backend), options.branch, format.head)
  }
  writeFileAtomic(join(dir, CLONE_MARKER), prettyJsonBytes({ url }))
  const initial = options.branch ?? format.head.slice(HEADS.length)
  await using repo = pathExists(join(dir, 'config.json'))
    ? await openRepository(ctx, root)
    : await initRepository(ctx, root, { branch: initial })
  await repo.updateConfig((config) => ({
    ...config,
    remotes: { ...config.remotes, [REMOTE_NAME]: { url } },
    defaults: { ...config.defaults, remote: REMOTE_NAME },
    // Until the last file is in place, files that are not there are not deleted ones.
    partial: true,
  }))
  // Wanted at the end, for the reflog: git answers while data comes. One that fails is told of there.
  repo.identity().catch(() => undefined)
  const state = await readRemote(ctx, repo, remote)
  const branch = chooseBranch(remote, [...state.refs.keys()], options.branch, format.head)
  const to = state.refs.get(branch)?.ref.commit
  if (to === undefined) throw emptyRemote(remote)
  let ahead: CheckoutAhead | undefined
  const fetch = await fetchState(ctx, repo, remote, state, {
    data: options.data,
    link: options.hardlinks,
    // A folder that an interrupted clone left may hold files: there each is looked at first.
    ...(resumed
      ? {}
      : {
          checkout: async () => (ahead = beginCheckout(repo, await repo.history.manifest(to))),
        }),
  })
  const { commit: from } = await repo.history.head()
  const plan = await checkoutCommit(ctx, repo, to, {
    branch,
    complete: true,
    data: options.data,
    written: ahead?.done().paths,
    reason: `clone from ${backend.url}`,
  })
  if (options.data) await repo.updateConfig(withoutPartial)
  removePath(join(dir, CLONE_MARKER))
  return {
    folder: root,
    resumed,
    fetch,
    branch,
    status: 'created',
    from,
    to,
    written: plan.write.length + (ahead?.done().paths.size ?? 0),
    removed: plan.remove.length,
    writtenBytes: plan.bytes + (ahead?.done().bytes ?? 0),
  }
}

/** @returns whether an interrupted clone of the same URL is there */
async function checkFolder(root: string, dir: string, url: string): Promise<boolean> {
  const marker = await readFileIfAny(join(dir, CLONE_MARKER), 64 << 10)
  if (marker !== undefined) {
    const value = parseJsonBytes(marker)
    if (isRecord(value) && value['url'] === url) return true
    throw new CxvError('REPO_EXISTS', `${root} holds an unfinished clone of another URL`, {
      hint: 'choose another folder, or delete that one',
    })
  }
  const begun = namesIn(dir).every((name) => TEMPORARY_NAME.test(name))
  if (pathExists(dir) && begun && namesIn(root).length === 1) return true
  if (pathExists(dir)) {
    throw new CxvError('REPO_EXISTS', `${root} is a cxv repository already`, {
      hint: '`cxv pull` inside it brings what is new',
    })
  }
  const names = namesIn(root)
  if (names.length > 0) {
    throw new CxvError('LOCAL_CHANGES', `${root} is not empty`, {
      hint: 'clone into a new folder',
      data: { folder: root, entries: names.slice(0, 20) },
    })
  }
  return false
}

async function branchesOf(backend: Backend): Promise<readonly string[]> {
  const names: string[] = []
  for await (const { key } of backend.list(HEADS)) {
    const name = refNameOfKey(key)
    if (name !== undefined) names.push(name)
  }
  return names
}

function chooseBranch(
  remote: Remote,
  refs: readonly string[],
  asked: string | undefined,
  head: string,
): string {
  const branches = refs.filter((name) => name.startsWith(HEADS)).sort()
  const candidates = asked === undefined ? [head, `${HEADS}main`, ...branches] : [HEADS + asked]
  const chosen = candidates.find((name) => refs.includes(name))
  if (chosen !== undefined) return chosen
  if (branches.length === 0) throw emptyRemote(remote)
  throw new CxvError('REV_UNKNOWN', `${remote.backend.url} has no branch "${asked}"`, {
    hint: `it has ${branches
      .map((name) => name.slice(HEADS.length))
      .slice(0, 10)
      .join(', ')}`,
    data: { branch: asked, branches: branches.slice(0, 100) },
  })
}
