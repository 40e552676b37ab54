import { join } from 'node:path'
import { readFileIfAny } from '../io/index.ts'

/** Rules of one folder: `.cxvignore` there, matched against paths relative to it, as git does. */
interface FolderRules {
  readonly folder: string
  readonly test: (relative: string) => { readonly ignored: boolean; readonly unignored: boolean }
}

export interface IgnoreRules {
  /** Loads the rules of a folder (repository path, `` for the top). Call it before asking about its members. */
  enter(folder: string): Promise<void>
  /** Whether the path is ignored; a folder that is ignored hides all below it. */
  ignores(path: string, isFolder: boolean): boolean
}

const MAX_BYTES = 1 << 20
export const RULES_FILE = '.cxvignore'
/** Never tracked, whatever the rules say: cxv's own folder and git's. */
export const isReserved = (name: string): boolean =>
  name.startsWith('.') && /^\.(cxv|git)$/i.test(name)

/** git's rules in files named `.cxvignore`, a deeper file over a shallower one, the last match winning. */
export async function openIgnoreRules(root: string): Promise<IgnoreRules> {
  const { default: ignore } = await import('ignore')
  const rules = new Map<string, FolderRules>()
  const chain = (path: string): FolderRules[] => {
    const found: FolderRules[] = []
    for (let folder = parentOf(path); ; folder = parentOf(folder)) {
      const here = rules.get(folder)
      if (here !== undefined) found.push(here)
      if (folder === '') return found
    }
  }
  return {
    async enter(folder) {
      if (rules.has(folder)) return
      const bytes = await readFileIfAny(join(root, folder, RULES_FILE), MAX_BYTES)
      if (bytes === undefined) return
      // git's rules mind the case; the package's default does not, and would leave SCAN.PNG out for *.png.
      const matcher = ignore({ ignorecase: false }).add(new TextDecoder().decode(bytes))
      rules.set(folder, { folder, test: (relative) => matcher.test(relative) })
    },
    ignores(path, isFolder) {
      if (rules.size === 0) return false
      for (const { folder, test } of chain(path)) {
        const relative = folder === '' ? path : path.slice(folder.length + 1)
        const { ignored, unignored } = test(isFolder ? `${relative}/` : relative)
        if (ignored) return true
        if (unignored) return false
      }
      return false
    },
  }
}

export const parentOf = (path: string): string => {
  const slash = path.lastIndexOf('/')
  return slash < 0 ? '' : path.slice(0, slash)
}
