import { CxvError, formatBytes, plural } from '../base/index.ts'
import { tightenHeaps } from '../io/index.ts'
import { openRepository } from '../repo/index.ts'
import { openRemote, push } from '../sync/index.ts'
import { shortRefName } from '../history/index.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'push',
    summary: 'Send commits, their data and their runs to a remote',
    description:
      'Without arguments: the current branch, to the default remote. The tags and runs of its commits go ' +
      'along. Only what the remote lacks is sent; interrupted, the same command goes on where it stopped. ' +
      'A branch that has commits you lack is never overwritten: the push is rejected and says what differs.',
    examples: [
      ['cxv push', ''],
      ['cxv push gpu main', 'one branch to one remote'],
      [
        'cxv push --recheck',
        'do not believe the index: look at what the remote really holds, and mend it',
      ],
    ],
    positionals: [
      { name: 'remote', describe: 'Name of a remote; default: the default one' },
      { name: 'branch', describe: 'Branches; default: the current one', many: true },
    ],
    options: {
      all: { type: 'boolean', describe: 'Every branch' },
      tags: { type: 'boolean', describe: 'Every tag, also of commits that are not pushed' },
      recheck: {
        type: 'boolean',
        describe: 'List the packs of the remote and send again what is absent or cut short',
      },
      'dry-run': {
        type: 'boolean',
        alias: 'n',
        describe: 'Say what would be sent, and send nothing',
      },
    },
    async run(ctx, args) {
      const branches = args._['branch'] ?? []
      if (args.all === true && branches.length > 0) {
        throw new CxvError('USAGE', 'either --all or names of branches')
      }
      tightenHeaps()
      await using repo = await openRepository(ctx, ctx.cwd)
      const remote = await openRemote(ctx, repo, args._['remote']?.[0])
      try {
        return await push(ctx, repo, remote, {
          branches,
          all: args.all === true,
          tags: args.tags === true,
          recheck: args.recheck === true,
          dryRun: args['dry-run'] === true,
        })
      } finally {
        await remote.backend.close()
      }
    },
    *text(r, style) {
      const would = r.dryRun ? 'would be ' : ''
      const moved = r.refs.filter(({ status }) => status === 'created' || status === 'updated')
      if (r.packsLost > 0) {
        yield style.yellow(
          `${plural(r.packsLost, 'pack')} of the remote ${r.packsLost === 1 ? 'was' : 'were'} absent or cut short`,
        )
      }
      if (moved.length > 0 || r.packs > 0) {
        const again =
          r.packsAlreadyThere > 0
            ? `, ${plural(r.packsAlreadyThere, 'pack')} there from before`
            : ''
        yield `${would}sent to ${style.bold(r.remote)}: ${plural(r.commits, 'commit')}, ${plural(r.contents, 'content')}, ${formatBytes(r.bytes)} in ${plural(r.packs, 'pack')}${again}`
      }
      const runs = moved.filter(({ ref }) => ref.startsWith('refs/runs/'))
      for (const { ref, from, to, status } of r.refs) {
        if (
          ref.startsWith('refs/runs/') ||
          (status === 'up to date' && !ref.startsWith('refs/heads/'))
        )
          continue
        const ids =
          from === null || from === to
            ? to.slice(0, 10)
            : `${from.slice(0, 10)}..${to.slice(0, 10)}`
        const note = status === 'behind' ? 'is behind the remote: `cxv pull`' : status
        yield `  ${shortRefName(ref)}  ${ids}  ${note}`
      }
      if (runs.length > 0) yield `  ${plural(runs.length, 'run')}`
    },
  }),
)
