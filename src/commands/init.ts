import { resolve } from 'node:path'
import { initRepository } from '../repo/index.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'init',
    summary: 'Make an empty repository in this folder',
    description:
      'Makes a .cxv folder here. Your files stay where they are and are not touched until you add them.',
    examples: [['cxv init', 'in the folder that holds your images and tables']],
    positionals: [{ name: 'folder', describe: 'Where; the current folder if left out' }],
    options: {
      branch: {
        type: 'string',
        alias: 'b',
        placeholder: 'NAME',
        describe: 'First branch (default: main)',
      },
    },
    async run(ctx, args) {
      const folder = resolve(ctx.cwd, args._['folder']?.[0] ?? '.')
      await using repo = await initRepository(ctx, folder, { branch: args.branch ?? 'main' })
      return { root: repo.root, branch: args.branch ?? 'main' }
    },
    *text({ root }) {
      yield `an empty cxv repository in ${root}`
      yield 'next: `cxv add FOLDER`, then `cxv commit -m "what it is"`'
    },
  }),
)
