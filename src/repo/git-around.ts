import { dirname, join } from 'node:path'
import { lstatIfAny, runProgram } from '../io/index.ts'

/** The git repository around a work tree. */
interface GitAround {
  readonly workTree: string
  readonly gitDir: string
}

/**
 * Only an entry named `.git` makes one, which cxv never checks out. git itself also takes a folder for a
 * repository that holds HEAD, objects and refs; a dataset may hold those, with a configuration that runs
 * programs.
 */
function gitAround(root: string): GitAround | undefined {
  for (let folder = root; ; folder = dirname(folder)) {
    const gitDir = join(folder, '.git')
    if (lstatIfAny(gitDir) !== undefined) return { workTree: folder, gitDir }
    if (dirname(folder) === folder) return undefined
  }
}

export interface GitOutput {
  readonly status: number
  /** Bytes as latin1 characters. */
  readonly stdout: string
}

/**
 * Runs git on the repository around a work tree, never on one that git finds for itself. Its configuration
 * is kept from starting programs to watch the file system.
 * @returns undefined when there is no such repository, or no git
 */
export async function gitThere(
  root: string,
  args: readonly string[],
  keepChars: number,
): Promise<GitOutput | undefined> {
  const around = gitAround(root)
  if (around === undefined) return undefined
  const where = [`--git-dir=${around.gitDir}`, `--work-tree=${around.workTree}`]
  return run(around.workTree, [...where, '-c', 'core.fsmonitor=false', ...args], keepChars)
}

/** A value of git's configuration: of the repository around the work tree, else of the user. */
export async function gitSetting(root: string, key: string): Promise<string | undefined> {
  const args = ['config', '--get', key]
  // At the top of the file system, for lack of a folder that holds nothing of anybody's.
  const found =
    gitAround(root) === undefined
      ? await run('/', args, MAX_SETTING_CHARS)
      : await gitThere(root, args, MAX_SETTING_CHARS)
  const value = Buffer.from(found?.stdout ?? '', 'latin1')
    .toString()
    .trim()
  return found?.status === 0 && value !== '' ? value : undefined
}

const MAX_SETTING_CHARS = 4_096

async function run(
  cwd: string,
  args: readonly string[],
  keepChars: number,
): Promise<GitOutput | undefined> {
  try {
    return await runProgram('git', ['--no-pager', ...args], { cwd, keepChars, encoding: 'latin1' })
  } catch {
    return undefined
  }
}
