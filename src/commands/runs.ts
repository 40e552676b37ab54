import { listRuns } from '../lineage/index.ts'
import { openRepository } from '../repo/index.ts'
import { dataText, runLine, summarise } from './run-text.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'runs',
    summary: 'List every training run, newest first',
    description:
      'Lists runs that were made here and those that came with fetch, pull or clone. A run whose process is gone reads "interrupted"; `cxv run --resume RUN` goes on with it.',
    examples: [
      ['cxv runs', 'all of them'],
      ['cxv runs --status finished --json', 'for a program'],
    ],
    options: {
      status: {
        type: 'string',
        choices: ['running', 'finished', 'failed', 'interrupted'],
        describe: 'Only runs in this state',
      },
      limit: { type: 'number', alias: 'n', placeholder: 'N', describe: 'At most N runs' },
    },
    async run(ctx, args) {
      await using repo = await openRepository(ctx, ctx.cwd)
      const all = (await listRuns(ctx, repo)).map(summarise).reverse()
      const wanted = all.filter((r) => args.status === undefined || r.status === args.status)
      return { runs: wanted.slice(0, args.limit ?? wanted.length), total: wanted.length }
    },
    *text({ runs, total }, style) {
      if (total === 0) yield 'no runs yet: `cxv run train.yaml` makes one'
      for (const run of runs) {
        yield runLine(run, style)
        yield style.dim(`    ${dataText(run)}  ${run.reason}`)
      }
      if (runs.length < total) yield `and ${total - runs.length} more`
    },
  }),
)
