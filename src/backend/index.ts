/**
 * Remotes as keys and bytes. Concern: the `Backend` port, its file and ssh implementations, retries.
 * Not its concern: what the bytes mean, in which order they are written (sync), the local store.
 */
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Context, CxvError, printable } from '../base/index.ts'
import { createFileBackend } from './file.ts'
import { withRetry } from './retry.ts'
import { openSshBackend, type SshTarget } from './ssh.ts'
import type { Backend } from './types.ts'

export { openStdioBackend, type Line } from './stdio.ts'
export { withRetry } from './retry.ts'
export { quoteForShell, splitWords } from './ssh.ts'

export interface OpenBackendOptions {
  /** Folder that a relative path starts from. */
  readonly cwd: string
  readonly env?: Readonly<Record<string, string | undefined>>
}

export type RemoteAddress =
  | { readonly kind: 'file'; readonly url: string; readonly path: string }
  | ({ readonly kind: 'ssh' } & SshTarget)

/** A folder as a backend; made by the first put. */
export const openFolder = (ctx: Context, path: string): Backend => createFileBackend(ctx, path)

/**
 * Reads a remote's URL: a path, `file:///path`, `ssh://[user@]host[:port]/path` (`/~/x` is under the
 * home folder), or `[user@]host:path`.
 * @throws CxvError REMOTE_INVALID
 */
export function parseRemoteUrl(url: string, cwd: string): RemoteAddress {
  if (url === '' || /[\u0000-\u001f\u007f]/.test(url))
    throw invalid(url, 'it is empty or has control characters')
  if (/^file:/i.test(url)) {
    let path: string
    try {
      path = fileURLToPath(url)
    } catch (cause) {
      throw invalid(url, 'write it as file:///absolute/path', cause)
    }
    return { kind: 'file', url: `file://${path}`, path }
  }
  if (/^ssh:\/\//i.test(url)) return parseSshUrl(url)
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]
  if (scheme !== undefined)
    throw invalid(url, `this cxv has no ${scheme} remotes, only paths and ssh`)
  const scp = /^([^/:]+):(.*)$/.exec(url)
  if (scp?.[1] !== undefined && scp[2] !== undefined) {
    return sshTarget(url, scp[1], undefined, scp[2])
  }
  const path = resolve(cwd, url)
  return { kind: 'file', url: `file://${path}`, path }
}

function parseSshUrl(url: string): RemoteAddress {
  const match = /^ssh:\/\/((?:[^@/]*@)?(?:\[[^\]/]+\]|[^:/@]+))(?::(\d{1,5}))?(\/.*)$/i.exec(url)
  const [, destination, port, path] = match ?? []
  if (destination === undefined || path === undefined || path === '/') {
    throw invalid(url, 'write it as ssh://[user@]host[:port]/path')
  }
  return sshTarget(url, destination, port === undefined ? undefined : Number(port), path)
}

function sshTarget(
  url: string,
  destination: string,
  port: number | undefined,
  path: string,
): RemoteAddress {
  const at = destination.lastIndexOf('@')
  const user = at < 0 ? undefined : destination.slice(0, at)
  const host = destination.slice(at + 1).replace(/^\[(.*)\]$/, '$1')
  if (!/^[A-Za-z0-9_:][A-Za-z0-9._:%-]*$/.test(host))
    throw invalid(url, `"${host}" is no host name`)
  if (user !== undefined && !/^[A-Za-z0-9_][A-Za-z0-9._+-]*\$?$/.test(user)) {
    throw invalid(
      url,
      user.includes(':') ? 'a password does not belong in a URL' : `"${user}" is no user name`,
    )
  }
  if (port !== undefined && (port < 1 || port > 65_535)) throw invalid(url, 'no such port')
  const there = path.replace(/^\/?~\//, '')
  if (there === '' || there.startsWith('-') || /^\/?~/.test(there)) {
    throw invalid(url, 'the path on the other side must be absolute or under the home folder')
  }
  return {
    kind: 'ssh',
    url: printable(url),
    destination: user === undefined ? host : `${user}@${host}`,
    port,
    path: there,
  }
}

const invalid = (url: string, why: string, cause?: unknown): CxvError =>
  new CxvError('REMOTE_INVALID', `"${url}" is not the URL of a remote: ${why}`, {
    hint: 'use a path, or ssh://host/path',
    data: { url: printable(url) },
    ...(cause === undefined ? {} : { cause }),
  })

/**
 * Opens a remote. Passing failures are retried; an ssh connection that broke is made anew.
 * @throws CxvError REMOTE_INVALID, AUTH_FAILED, REMOTE_FAILED
 */
export async function openBackend(
  ctx: Context,
  url: string,
  options: OpenBackendOptions,
): Promise<Backend> {
  const address = parseRemoteUrl(url, options.cwd)
  const backend =
    address.kind === 'file'
      ? createFileBackend(ctx, address.path, address.url)
      : await openSshBackend(ctx, address, options.env ?? {})
  return withRetry(ctx, backend)
}
