import { defineCommand, erase } from '../commands/types.ts'
import { CxvError } from '../base/index.ts'
import { serveStdio } from './stdio.ts'

/** `cxv serve --stdio PATH`: handed to the cli by bin/cxv.js, because this room is above it. */
export const command = erase(
  defineCommand({
    name: 'serve',
    summary: 'Answer another cxv over stdin and stdout (what ssh starts)',
    description:
      'You need not type this. For a remote ssh://host/path, cxv starts `cxv serve --stdio /path` on ' +
      'that host through ssh and speaks with it over the pipe. It sees that folder and nothing else.',
    examples: [['cxv serve --stdio /srv/xrays', 'answer for the remote in /srv/xrays']],
    positionals: [{ name: 'path', describe: 'folder of the remote', required: true }],
    options: { stdio: { type: 'boolean', describe: 'speak over stdin and stdout' } },
    async run(ctx, args) {
      const path = args._['path']?.[0]
      if (args.stdio !== true || path === undefined) {
        throw new CxvError('USAGE', 'serve needs --stdio and a path', {
          hint: 'cxv serve --stdio /srv/xrays',
        })
      }
      return { status: await serveStdio(ctx, path, process.stdin, process.stdout) }
    },
    *text() {
      // stdout belongs to the protocol.
    },
    exit: ({ status }) => status,
  }),
)
