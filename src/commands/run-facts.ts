import { formatBytes, type Json } from '../base/index.ts'
import { cxvVersion, hardwareFacts } from '../io/index.ts'
import { gitThere } from '../repo/index.ts'

const MAX_PATCH_BYTES = 4 << 20

export interface CodeFacts {
  readonly commit: string
  readonly dirty: boolean
  /** `git diff HEAD` of the repository around the work tree; null when it is clean or cannot be kept. */
  readonly patch: Uint8Array | null
  /** Why a dirty repository has no patch: it would be no help in part. */
  readonly patchLost?: string
}

/**
 * The git repository around the work tree, if there is one and git is installed. Its configuration is
 * kept from starting programs (external diff, text conversion; see `gitThere`).
 */
export async function codeFacts(root: string): Promise<CodeFacts | null> {
  const git = async (...args: string[]): Promise<Uint8Array | undefined> => {
    // Bytes: a patch of sources in another encoding must come back as it was.
    const output = await gitThere(root, args, MAX_PATCH_BYTES + 1)
    return output?.status === 0 ? new Uint8Array(Buffer.from(output.stdout, 'latin1')) : undefined
  }
  const head = await git('rev-parse', '--verify', '--quiet', 'HEAD')
  const commit = new TextDecoder().decode(head).trim()
  if (commit === '') return null
  const patch = await git('diff', '--no-ext-diff', '--no-textconv', '--no-color', 'HEAD')
  if (patch === undefined)
    return { commit, dirty: true, patch: null, patchLost: '`git diff HEAD` failed' }
  if (patch.length > MAX_PATCH_BYTES) {
    const patchLost = `it has more than ${formatBytes(MAX_PATCH_BYTES)}`
    return { commit, dirty: true, patch: null, patchLost }
  }
  return { commit, dirty: patch.length > 0, patch: patch.length > 0 ? patch : null }
}

/** What made this run, as far as programs go. */
export function versionFacts(): Readonly<Record<string, string>> {
  return { cxv: cxvVersion(), node: process.versions.node, v8: process.versions.v8 }
}

export const hardwareJson = (): Json => ({ ...hardwareFacts() })
