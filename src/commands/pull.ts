import { formatBytes, plural } from '../base/index.ts'
import { tightenHeaps } from '../io/index.ts'
import { openRepository } from '../repo/index.ts'
import { openRemote, pull } from '../sync/index.ts'
import type { PullResult } from '../sync/types.ts'
import { describeFetch } from './fetch.ts'
import { defineCommand, erase, type TextStyle } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'pull',
    summary: 'Bring what is new on a remote, and move this branch and its files to it',
    description:
      'Fetches, then moves the current branch forward. Files with changes that are in no version are never ' +
      'overwritten, and a branch that went on here as well as there is left as it is. After `cxv clone ' +
      '--no-data` it brings the bytes. Interrupted, the same command goes on where it stopped.',
    examples: [
      ['cxv pull', ''],
      ['cxv pull gpu main', 'from one branch of one remote'],
    ],
    positionals: [
      { name: 'remote', describe: 'Name of a remote; default: the default one' },
      {
        name: 'branch',
        describe: 'Branch of the remote; default: the one with the name of the current',
      },
    ],
    options: {
      'no-data': { type: 'boolean', describe: 'History only, no bytes of files' },
      recheck: {
        type: 'boolean',
        describe: 'Also look for bytes of old versions that are lost here',
      },
    },
    async run(ctx, args) {
      tightenHeaps()
      await using repo = await openRepository(ctx, ctx.cwd)
      const remote = await openRemote(ctx, repo, args._['remote']?.[0])
      const branch = args._['branch']?.[0]
      try {
        return await pull(ctx, repo, remote, {
          ...(branch === undefined ? {} : { branch }),
          data: args['no-data'] !== true,
          recheck: args.recheck === true,
        })
      } finally {
        await remote.backend.close()
      }
    },
    text: (r, style) => describePull(r, style),
  }),
)

export function* describePull(r: PullResult, style: TextStyle): Iterable<string> {
  yield* describeFetch(r.fetch, style)
  const branch = style.bold(r.branch.replace('refs/heads/', ''))
  const files = `${plural(r.written, 'file')}, ${formatBytes(r.writtenBytes)} written${r.removed > 0 ? `, ${plural(r.removed, 'file')} removed` : ''}`
  const wrote = r.written + r.removed > 0 ? `; ${files}` : ''
  switch (r.status) {
    case 'created':
      yield `${branch} is at ${r.to.slice(0, 10)}${wrote}`
      break
    case 'fast forward':
      yield `${branch} went from ${(r.from ?? r.to).slice(0, 10)} to ${r.to.slice(0, 10)}${wrote}`
      break
    case 'ahead':
      yield `${branch} has commits that the remote lacks: \`cxv push\`${wrote}`
      break
    case 'up to date':
      yield `${branch} is up to date${wrote}`
  }
}
