import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { CommitId } from '../../src/base/index.ts'
import { commitStage, initRepository, stageFiles } from '../../src/repo/index.ts'
import type { Repository } from '../../src/repo/types.ts'
import { type TestContext, testContext } from './context.ts'
import { type CleanUp, tempFolder } from './temp.ts'

/** A real repository with a work tree in a temporary folder. */
export interface WorkRepo {
  readonly ctx: TestContext
  readonly repo: Repository
  /** Writes files and stages them. */
  add(files: Readonly<Record<string, string | Uint8Array>>): Promise<void>
  /** Commits the stage. */
  commit(message?: string): Promise<CommitId>
}

export async function workRepo(t: CleanUp, name = 'repo'): Promise<WorkRepo> {
  const ctx = testContext()
  // A name that a shell, or DuckDB, would take for a pattern.
  const root = join(tempFolder(t, name), "lab's [1]")
  mkdirSync(root)
  const repo = await initRepository(ctx, root, { branch: 'main' })
  t.after(async () => repo[Symbol.asyncDispose]())
  return {
    ctx,
    repo,
    async add(files) {
      for (const [path, content] of Object.entries(files)) {
        const file = join(root, path)
        mkdirSync(dirname(file), { recursive: true })
        writeFileSync(file, content)
      }
      await stageFiles(ctx, repo, root, Object.keys(files))
    },
    async commit(message = 'data') {
      await commitStage(ctx, repo, { message, allowEmpty: true })
      return repo.history.resolve('HEAD')
    },
  }
}
