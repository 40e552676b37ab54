import { openRepository } from '../repo/index.ts'
import { removeRemote } from '../sync/index.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'remote remove',
    summary: 'Forget a remote; what it holds stays there',
    positionals: [{ name: 'name', describe: 'The remote', required: true }],
    options: {},
    async run(ctx, args) {
      await using repo = await openRepository(ctx, ctx.cwd)
      const name = args._['name']?.[0] ?? ''
      await removeRemote(repo, name)
      return { removed: name }
    },
    *text({ removed }) {
      yield `forgot ${removed}; nothing was deleted there`
    },
  }),
)
