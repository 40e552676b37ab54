import { openRepository } from '../repo/index.ts'
import { checkRemote, openRemote } from '../sync/index.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'remote check',
    summary: 'Try whether a remote answers and keeps what it promises',
    description:
      'Writes, reads, lists and deletes a few objects under a name of their own on the remote, and checks ' +
      'that of two writers one loses. Nothing of yours is touched, and nothing is left behind.',
    positionals: [{ name: 'name', describe: 'The remote; default: the default one' }],
    options: {},
    async run(ctx, args) {
      await using repo = await openRepository(ctx, ctx.cwd)
      const { name, backend } = await openRemote(ctx, repo, args._['name']?.[0])
      try {
        return await checkRemote(ctx, name, backend)
      } finally {
        await backend.close()
      }
    },
    *text(r, style) {
      yield `${style.bold(r.remote)}  ${r.url}  ${r.state}, ${r.roundTripMs} ms a request`
      for (const { step, ok, detail } of r.steps) {
        yield `  ${ok ? style.green('ok') : style.red('failed')}  ${step}${detail === '' ? '' : style.dim(`  ${detail}`)}`
      }
    },
    exit: (r) => (r.ok ? 0 : 14),
  }),
)
