import { resolve } from 'node:path'
import { openBackend } from '../backend/index.ts'
import { plural } from '../base/index.ts'
import { tightenHeaps } from '../io/index.ts'
import { clone, folderOfUrl, lastingUrl } from '../sync/index.ts'
import { describePull } from './pull.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'clone',
    summary: 'Make a repository of a remote',
    description:
      'Brings all branches, tags and runs with their bytes, and puts the files of one branch in place. The ' +
      'remote is called origin. Interrupted, the same command goes on where it stopped. ' +
      'From a path on the same disk, packs that are your own become hard links, as with git: they take no room, ' +
      'but damage, owner and permissions of such a file are one for both. --no-hardlinks makes copies.',
    examples: [
      ['cxv clone ssh://gpu-host/srv/xrays', 'into ./xrays'],
      ['cxv clone /mnt/nas/xrays work', 'into ./work'],
      [
        'cxv clone ssh://gpu-host/srv/xrays --no-data',
        'the history now, the bytes with `cxv pull`',
      ],
    ],
    positionals: [
      {
        name: 'url',
        describe: 'A path, ssh://[user@]host[:port]/path or host:path',
        required: true,
      },
      { name: 'folder', describe: 'Absent or empty; default: named after the URL' },
    ],
    options: {
      branch: { type: 'string', alias: 'b', placeholder: 'NAME', describe: 'Branch to check out' },
      'no-hardlinks': {
        type: 'boolean',
        describe: 'Copy the packs of a remote on this disk, instead of sharing its files',
      },
      'no-data': { type: 'boolean', describe: 'History only, no bytes of files and no work tree' },
    },
    async run(ctx, args) {
      tightenHeaps()
      const url = lastingUrl(args._['url']?.[0] ?? '', ctx.cwd)
      const folder = resolve(ctx.cwd, args._['folder']?.[0] ?? folderOfUrl(url, ctx.cwd))
      const backend = await openBackend(ctx, url, { cwd: ctx.cwd, env: ctx.env })
      try {
        return await clone(ctx, url, folder, backend, {
          ...(args.branch === undefined ? {} : { branch: args.branch }),
          data: args['no-data'] !== true,
          hardlinks: args['no-hardlinks'] !== true,
        })
      } finally {
        await backend.close()
      }
    },
    *text(r, style) {
      if (r.resumed) yield 'finished the clone that had been interrupted'
      yield* describePull(r, style)
      const { packs, packsLinked } = r.fetch
      if (packsLinked > 0) {
        yield `${packsLinked} of ${plural(packs, 'pack')} shared with ${r.fetch.url} by hard links`
      }
      yield `cloned into ${r.folder}`
    },
  }),
)
