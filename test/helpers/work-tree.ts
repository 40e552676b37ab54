import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { CommitId, Context } from '../../src/base/index.ts'
import { commitStage, initRepository, openRepository, stageFiles } from '../../src/repo/index.ts'
import type { Repository } from '../../src/repo/types.ts'
import { testContext } from './context.ts'

/** A repository with a work tree, driven in this process. */
export interface WorkTree {
  readonly root: string
  readonly ctx: Context
  write(files: Readonly<Record<string, string>>): void
  /** Stages everything and commits it. */
  commit(message: string): Promise<CommitId>
  /** Opens the repository for one piece of work. */
  with<T>(fn: (repo: Repository) => Promise<T>): Promise<T>
}

export async function workTree(root: string): Promise<WorkTree> {
  const ctx = testContext()
  mkdirSync(root, { recursive: true })
  await (await initRepository(ctx, root, { branch: 'main' }))[Symbol.asyncDispose]()
  const tree: WorkTree = {
    root,
    ctx,
    write(files) {
      for (const [path, text] of Object.entries(files)) {
        mkdirSync(dirname(join(root, path)), { recursive: true })
        writeFileSync(join(root, path), text)
      }
    },
    async with(fn) {
      await using repo = await openRepository(ctx, root)
      return await fn(repo)
    },
    commit: (message) =>
      tree.with(async (repo) => {
        await stageFiles(ctx, repo, root, ['.'])
        return (await commitStage(ctx, repo, { message })).commit
      }),
  }
  return tree
}
