import { openRepository } from '../repo/index.ts'
import { listRemotes } from '../sync/index.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'remote list',
    summary: 'List the remotes',
    options: {},
    async run(ctx) {
      await using repo = await openRepository(ctx, ctx.cwd)
      return { remotes: await listRemotes(repo) }
    },
    *text({ remotes }, style) {
      if (remotes.length === 0) yield 'no remotes: `cxv remote add NAME URL`'
      const width = Math.max(0, ...remotes.map(({ name }) => name.length))
      for (const { name, url, isDefault } of remotes) {
        yield `${style.bold(name.padEnd(width))}  ${url}${isDefault ? style.dim('  default') : ''}`
      }
    },
  }),
)
