import { type CommitId, counting, CxvError, type RunId } from '../base/index.ts'
import { findRun, listRuns, runsByCommit } from '../lineage/index.ts'
import { openRepository } from '../repo/index.ts'
import { commitLine, commitLines, type CommitView, refNames, viewCommit } from './commit-view.ts'
import { runLine, type RunSummary, summarise } from './run-text.ts'
import { defineCommand, erase } from './types.ts'

export interface LogResult {
  /** Each with the runs trained on it, or on uncommitted changes to it, oldest first. */
  readonly commits: readonly (CommitView & { readonly runs: readonly RunSummary[] })[]
  /** There are older commits than those shown. */
  readonly more: boolean
  readonly oneline: boolean
}

export const command = erase(
  defineCommand({
    name: 'log',
    summary: 'Show commits, newest first, and the runs trained on each',
    description:
      'Begins at HEAD, or at the given version: a branch, a tag, a commit id or its first digits, ' +
      'HEAD~2 for the second before HEAD, main@{1} for where main was before its last move.',
    examples: [
      ['cxv log', 'the commits that led to what you have now'],
      ['cxv log -n 5 --oneline', 'the last five, a line each'],
      ['cxv log origin/main', 'what the remote had at the last fetch'],
      ['cxv log --model r0mfzk3a7q2x', 'the data behind a run or model'],
    ],
    positionals: [{ name: 'rev', describe: 'Where to begin (default: HEAD)' }],
    options: {
      limit: { type: 'number', alias: 'n', placeholder: 'N', describe: 'At most N commits' },
      oneline: { type: 'boolean', describe: 'A line for each commit' },
      model: {
        type: 'string',
        placeholder: 'MODEL',
        describe: 'Begin at the data of this run or model (id, start of one, or run name)',
      },
      all: { type: 'boolean', describe: 'Begin at every branch and tag, also of remotes' },
    },
    async run(ctx, args): Promise<LogResult> {
      await using repo = await openRepository(ctx, ctx.cwd)
      const { history } = repo
      const limit = checkLimit(args.limit)
      const names = await refNames(history)
      const runs = runsByCommit(await listRuns(ctx, repo))
      const model = args.model === undefined ? undefined : await findRun(ctx, repo, args.model)
      const start = model?.record.commit ?? args._['rev']?.[0]
      const from: CommitId[] =
        args.all === true && start === undefined && names.size > 0
          ? [...names.keys()]
          : [await history.resolve(start ?? 'HEAD')]
      const commits: LogResult['commits'][number][] = []
      const shown = new Set<RunId>()
      let more = false
      const found = history.log(from, { limit: limit + 1 })
      for await (const commit of counting(ctx, 'reading history', 'commits', found)) {
        ctx.signal.throwIfAborted()
        if (commits.length === limit) more = true
        else {
          // A run on a snapshot stands under the snapshot where that is shown, else under its parent.
          const trained = (runs.get(commit.id) ?? []).filter((run) => !shown.has(run.record.id))
          for (const run of trained) shown.add(run.record.id)
          commits.push({ ...viewCommit(commit, names), runs: trained.map(summarise) })
        }
      }
      return { commits, more, oneline: args.oneline === true }
    },
    *text({ commits, more, oneline }, style) {
      for (const [i, view] of commits.entries()) {
        if (oneline) yield commitLine(view, style)
        else {
          if (i > 0) yield ''
          yield* commitLines(view, style)
        }
        for (const run of view.runs) yield `${oneline ? '  ' : '    '}run ${runLine(run, style)}`
      }
      if (more && !oneline) yield* ['', style.dim('... (older commits are left out)')]
    },
  }),
)

/** @throws USAGE for anything but a positive whole number */
export function checkLimit(limit: number | undefined, otherwise = Infinity): number {
  if (limit === undefined) return otherwise
  if (Number.isSafeInteger(limit) && limit > 0) return limit
  throw new CxvError('USAGE', `--limit needs a whole number above 0, not ${limit}`)
}
