import { CxvError, printableLine } from '../base/index.ts'
import type { Repository } from '../repo/types.ts'
import type { CommandContext } from './types.ts'

/** The path of an argument that must name a file. @throws CxvError USAGE for the top folder, PATH_OUTSIDE */
export function filePath(ctx: CommandContext, repo: Repository, word: string): string {
  const path = repo.toRepoPath(ctx.cwd, word)
  if (path !== '') return path
  throw new CxvError(
    'USAGE',
    `${printableLine(word)} is the folder of the repository, not a file`,
    {
      hint: '`cxv ls` lists the files',
    },
  )
}
