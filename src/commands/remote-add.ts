import { openRepository } from '../repo/index.ts'
import { addRemote } from '../sync/index.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'remote add',
    summary: 'Write down a place to push to and pull from',
    description:
      'URL is a path (`/mnt/nas/xrays`, made by the first push) or `ssh://[user@]host[:port]/path`, short ' +
      '`[user@]host:path`. Over ssh your own ssh configuration and keys are used, without asking for ' +
      'anything, and cxv must be installed on the other side (CXV_REMOTE_COMMAND says where, ' +
      'CXV_SSH_COMMAND which ssh). The first remote is the default of push and pull.',
    examples: [
      ['cxv remote add gpu ssh://gpu-host/srv/xrays', ''],
      ['cxv remote add nas /mnt/nas/xrays', ''],
    ],
    positionals: [
      { name: 'name', describe: 'What to call it here', required: true },
      { name: 'url', describe: 'Where it is', required: true },
    ],
    options: {},
    async run(ctx, args) {
      await using repo = await openRepository(ctx, ctx.cwd)
      return await addRemote(ctx, repo, args._['name']?.[0] ?? '', args._['url']?.[0] ?? '')
    },
    *text(r, style) {
      yield `${style.bold(r.name)} is ${r.url}${r.isDefault ? ' (default)' : ''}`
      if (r.state === 'holds data') yield 'it holds data: `cxv pull` brings it'
      if (r.state === 'empty') yield 'nothing is there yet: `cxv push` sends your commits'
    },
  }),
)
