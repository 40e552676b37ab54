import { createRequire } from 'node:module'
import { isRecord, type Json, utf8 } from '../base/index.ts'
import { hardwareFacts, runProgram } from '../io/index.ts'

const MAX_PATCH_CHARS = 4 << 20

export interface CodeFacts {
  readonly commit: string
  readonly dirty: boolean
  /** `git diff HEAD` of the repository around the work tree; null when it is clean. */
  readonly patch: Uint8Array | null
}

/**
 * The git repository around the work tree, if there is one and git is installed. Its configuration is
 * kept from starting programs (fsmonitor, external diff, text conversion).
 */
export async function codeFacts(root: string): Promise<CodeFacts | null> {
  const git = async (...args: string[]): Promise<string | undefined> => {
    try {
      const { status, stdout } = await runProgram(
        'git',
        ['--no-pager', '-c', 'core.fsmonitor=false', '-C', root, ...args],
        { keepChars: MAX_PATCH_CHARS },
      )
      return status === 0 ? stdout : undefined
    } catch {
      return undefined
    }
  }
  const commit = (await git('rev-parse', '--verify', '--quiet', 'HEAD'))?.trim()
  if (commit === undefined || commit === '') return null
  const patch = (await git('diff', '--no-ext-diff', '--no-textconv', '--no-color', 'HEAD')) ?? ''
  return { commit, dirty: patch !== '', patch: patch === '' ? null : utf8(patch) }
}

/** What made this run, as far as programs go. */
export function versionFacts(): Readonly<Record<string, string>> {
  return { cxv: cxvVersion(), node: process.versions.node, v8: process.versions.v8 }
}

export const hardwareJson = (): Json => ({ ...hardwareFacts() })

function cxvVersion(): string {
  const found: unknown = createRequire(import.meta.url)('../../../package.json')
  return isRecord(found) && typeof found['version'] === 'string' ? found['version'] : 'unknown'
}
