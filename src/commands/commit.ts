import { CxvError, formatBytes, plural } from '../base/index.ts'
import { commitStage, openRepository } from '../repo/index.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'commit',
    summary: 'Record what is staged as a new version',
    description:
      "The author comes from CXV_AUTHOR_NAME and CXV_AUTHOR_EMAIL, else from git's configuration.",
    examples: [['cxv commit -m "first 1,000"', '']],
    options: {
      message: {
        type: 'string',
        alias: 'm',
        placeholder: 'TEXT',
        describe: 'What this version is',
        required: true,
      },
      'allow-empty': { type: 'boolean', describe: 'Commit even if nothing is staged' },
    },
    async run(ctx, args) {
      if (args.message.trim() === '') {
        throw new CxvError('USAGE', 'the message is empty', {
          hint: 'cxv commit -m "what this version is"',
        })
      }
      await using repo = await openRepository(ctx, ctx.cwd)
      return await commitStage(ctx, repo, {
        message: args.message,
        allowEmpty: args['allow-empty'] === true,
      })
    },
    *text(r, style) {
      const branch = r.branch?.replace('refs/heads/', '') ?? 'detached'
      yield `[${branch} ${style.yellow(r.commit.slice(0, 10))}] ${r.message.split('\n')[0] ?? ''}`
      yield ` ${r.added} added, ${r.changed} changed, ${r.removed} removed; ${plural(r.files, 'file')}, ${formatBytes(r.bytes)} in all`
    },
  }),
)
