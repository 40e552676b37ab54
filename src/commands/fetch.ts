import { formatBytes, plural } from '../base/index.ts'
import { shortRefName } from '../history/index.ts'
import { openRepository } from '../repo/index.ts'
import { fetchRemote, openRemote } from '../sync/index.ts'
import type { FetchResult } from '../sync/types.ts'
import { defineCommand, erase, type TextStyle } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'fetch',
    summary: 'Bring what is new on a remote, without touching the work tree',
    description:
      'Branches of the remote become `REMOTE/BRANCH` here, for diff, log and switch; tags and runs come ' +
      'under their own names. Interrupted, the same command goes on where it stopped.',
    examples: [
      ['cxv fetch', ''],
      [
        'cxv fetch gpu --no-data',
        'commits, tables and runs only; the bytes come with the next pull',
      ],
    ],
    positionals: [
      { name: 'remote', describe: 'Name of a remote; default: the default one' },
      { name: 'branch', describe: 'Branches of the remote; default: all', many: true },
    ],
    options: {
      'no-data': { type: 'boolean', describe: 'History only, no bytes of files' },
      recheck: {
        type: 'boolean',
        describe: 'Also look for bytes of old versions that are lost here',
      },
    },
    async run(ctx, args) {
      await using repo = await openRepository(ctx, ctx.cwd)
      const remote = await openRemote(ctx, repo, args._['remote']?.[0])
      try {
        return await fetchRemote(ctx, repo, remote, {
          branches: args._['branch'] ?? [],
          data: args['no-data'] !== true,
          recheck: args.recheck === true,
        })
      } finally {
        await remote.backend.close()
      }
    },
    text: (r, style) => describeFetch(r, style),
  }),
)

/** What came, in a line, and a line for each branch and tag. */
export function* describeFetch(r: FetchResult, style: TextStyle): Iterable<string> {
  if (r.refs.length === 0 && r.contents === 0) {
    yield `nothing new on ${style.bold(r.remote)}`
    return
  }
  yield `from ${style.bold(r.remote)}: ${plural(r.commits, 'commit')}, ${plural(r.contents, 'content')}, ${formatBytes(r.bytes)}`
  for (const { ref, status, from, to } of r.refs) {
    if (ref.startsWith('refs/runs/')) continue
    const ids = from === null ? to.slice(0, 10) : `${from.slice(0, 10)}..${to.slice(0, 10)}`
    yield `  ${shortRefName(ref)}  ${ids}  ${status}`
  }
  if (r.runs > 0) yield `  ${plural(r.runs, 'run')}`
}
