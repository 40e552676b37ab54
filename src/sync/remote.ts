import { join } from 'node:path'
import { openBackend } from '../backend/index.ts'
import type { Backend } from '../backend/types.ts'
import { CxvError, nearest } from '../base/index.ts'
import type { CommandContextLike } from './context.ts'
import type { Repository } from '../repo/types.ts'
import type { Remote } from './types.ts'

const REMOTE_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*$/

/** @throws CxvError REMOTE_INVALID */
export function checkRemoteName(name: string): void {
  if (!REMOTE_NAME.test(name) || name.length > 64) {
    throw new CxvError('REMOTE_INVALID', `"${name}" cannot be the name of a remote`, {
      hint: 'use letters, digits, `-` and `_`',
    })
  }
}

/** Where what is known of a remote is kept: safe to delete, asked for again when absent. */
export const remoteCache = (repo: Repository, name: string): string =>
  join(repo.folder, 'cache', 'remotes', name)

/**
 * Opens a remote of the repository's configuration.
 * @param name undefined: the default one
 * @throws CxvError REMOTE_UNKNOWN, and what openBackend throws
 */
export async function openRemote(
  ctx: CommandContextLike,
  repo: Repository,
  name: string | undefined,
): Promise<Remote> {
  const config = await repo.config()
  const names = Object.keys(config.remotes)
  const chosen = name ?? config.defaults.remote ?? (names.length === 1 ? names[0] : undefined)
  if (chosen === undefined) {
    throw new CxvError(
      'REMOTE_UNKNOWN',
      names.length === 0 ? 'no remote is set up' : 'there is more than one remote: say which',
      {
        hint:
          names.length === 0
            ? 'cxv remote add origin ssh://host/path'
            : `one of ${names.join(', ')}`,
      },
    )
  }
  const found = Object.hasOwn(config.remotes, chosen) ? config.remotes[chosen] : undefined
  if (found === undefined) {
    const near = nearest(chosen, names)
    throw new CxvError('REMOTE_UNKNOWN', `there is no remote "${chosen}"`, {
      hint: near === undefined ? '`cxv remote list` shows them' : `did you mean ${near}?`,
      data: { remote: chosen, remotes: names },
    })
  }
  checkRemoteName(chosen)
  return {
    name: chosen,
    backend: await openBackend(ctx, found.url, { cwd: repo.root, env: ctx.env }),
  }
}

/** Requests in flight: over ssh answers wait for each other less than for the line. */
export const concurrencyOf = (backend: Backend): number => (backend.url.startsWith('file:') ? 2 : 4)

export function needsWritable({ name, backend }: Remote): void {
  if (backend.caps.write && backend.caps.compareAndSwap) return
  throw new CxvError('REMOTE_READ_ONLY', `the remote ${name} cannot be pushed to`, {
    hint: 'it is read-only, or cannot compare and swap: push to another one',
    data: { remote: name, caps: backend.caps },
  })
}
