import { join } from 'node:path'
import { compareUtf8, type Context } from '../base/index.ts'
import { pathProblem } from '../format/index.ts'
import { lstatIfAny, readFolder } from '../io/index.ts'
import type { StatFacts } from '../store/types.ts'
import { isReserved, openIgnoreRules, RULES_FILE } from './ignore.ts'

export interface ScannedFile {
  readonly path: string
  readonly stat: StatFacts
}

export interface Scan {
  /** Sorted by path (UTF-8 bytes). */
  readonly files: readonly ScannedFile[]
  /** Links and other things that are never tracked. */
  readonly skipped: readonly {
    readonly path: string
    readonly why: 'symlink' | 'special' | 'name'
  }[]
}

export interface ScanOptions {
  /** Paths that are tracked. */
  readonly tracked: Pick<ReadonlySet<string>, 'has' | 'keys'>
  readonly force?: boolean
}

/** All that `walkWorkTree` finds, at once. */
export async function scanWorkTree(
  ctx: Context,
  root: string,
  under: string,
  options: ScanOptions,
): Promise<Scan> {
  const files: ScannedFile[] = []
  const skipped = await walkWorkTree(ctx, root, under, {
    ...options,
    onFile: (path, stat) => void files.push({ path, stat }),
  })
  files.sort((a, b) => compareUtf8(a.path, b.path))
  return { files, skipped }
}

/**
 * Every file under a folder that may be tracked: not ignored, or tracked already. Links are not followed.
 * @param under repository path of a folder, `` for all
 */
export async function walkWorkTree(
  ctx: Context,
  root: string,
  under: string,
  options: ScanOptions & { readonly onFile: (path: string, stat: StatFacts) => void },
): Promise<Scan['skipped']> {
  const rules = await openIgnoreRules(root)
  const skipped: { path: string; why: 'symlink' | 'special' | 'name' }[] = []
  const trackedFolders = foldersOf(options.tracked.keys())
  for (let folder = ''; folder !== under;) {
    await rules.enter(folder)
    const rest = under.slice(folder === '' ? 0 : folder.length + 1)
    const next = rest.split('/')[0] ?? ''
    folder = folder === '' ? next : `${folder}/${next}`
  }
  const visit = async (folder: string): Promise<void> => {
    ctx.signal.throwIfAborted()
    const members = readFolder(join(root, folder))
    if (members.some(({ name }) => name === RULES_FILE)) await rules.enter(folder)
    for (const { name, kind } of members) {
      if (isReserved(name)) continue
      const path = folder === '' ? name : `${folder}/${name}`
      if (kind === 'folder') {
        const hidden = options.force !== true && rules.ignores(path, true)
        if (!hidden || trackedFolders.has(path)) await visit(path)
        continue
      }
      const tracked = options.tracked.has(path)
      if (!tracked && options.force !== true && rules.ignores(path, false)) continue
      if (kind !== 'file') {
        skipped.push({ path, why: kind === 'symlink' ? 'symlink' : 'special' })
      } else if (!tracked && (path.includes('\ufffd') || pathProblem(path) !== undefined)) {
        skipped.push({ path, why: 'name' })
      } else {
        const stat = statOf(`${root}/${path}`)
        if (stat !== undefined) options.onFile(path, stat)
      }
    }
  }
  await visit(under)
  return skipped
}

function foldersOf(paths: Iterable<string>): ReadonlySet<string> {
  const folders = new Set<string>()
  for (const path of paths) {
    for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
      const folder = path.slice(0, slash)
      if (folders.has(folder)) break
      folders.add(folder)
    }
  }
  return folders
}

/** Undefined when there is no regular file. */
export function statOf(absolutePath: string): StatFacts | undefined {
  const stat = lstatIfAny(absolutePath)
  if (stat === undefined || !stat.isFile()) return undefined
  return {
    size: Number(stat.size),
    mtimeNs: stat.mtimeNs,
    ctimeNs: stat.ctimeNs,
    ino: stat.ino,
    dev: stat.dev,
    executable: (stat.mode & 0o100n) !== 0n,
  }
}
