import { type CommitId, CxvError, printable } from '../base/index.ts'
import { type History, refNameProblem } from '../history/index.ts'
import { openRepository } from '../repo/index.ts'
import { shortId } from './commit-view.ts'
import { checkLimit } from './log.ts'
import { defineCommand, erase } from './types.ts'

export interface ReflogResult {
  readonly name: string
  readonly moves: readonly {
    /** `main@{0}`: takes the place of a version in other verbs. */
    readonly selector: string
    readonly from: CommitId | null
    readonly to: CommitId
    readonly time: string
    readonly reason: string
  }[]
}

export const command = erase(
  defineCommand({
    name: 'reflog',
    summary: 'Show where a branch has been: to undo',
    description:
      'Every move of HEAD and of each branch is kept on this machine. `main@{1}` is where main was before ' +
      'its last move, in any verb that takes a version.',
    examples: [
      ['cxv reflog', 'where HEAD has been'],
      ['cxv branch rescued main@{1}', 'keep what main was before its last move'],
    ],
    positionals: [{ name: 'ref', describe: 'HEAD or a branch (default: HEAD)' }],
    options: {
      limit: { type: 'number', alias: 'n', placeholder: 'N', describe: 'At most N moves' },
    },
    async run(ctx, args): Promise<ReflogResult> {
      await using repo = await openRepository(ctx, ctx.cwd)
      const limit = checkLimit(args.limit)
      const name = args._['ref']?.[0] ?? 'HEAD'
      const rows = await repo.history.reflog(await logName(repo.history, name))
      return {
        name,
        moves: rows.slice(0, limit).map(({ from, to, timeMs, reason }, i) => ({
          selector: `${name}@{${i}}`,
          from,
          to,
          time: new Date(timeMs).toISOString(),
          reason,
        })),
      }
    },
    *text({ moves }, style) {
      for (const { selector, to, reason } of moves) {
        yield `${style.yellow(shortId(to))} ${printable(selector)}: ${printable(reason)}`
      }
      if (moves.length === 0) yield 'it has not moved yet'
    },
  }),
)

/** @throws REV_UNKNOWN */
async function logName(history: History, name: string): Promise<string> {
  if (name === 'HEAD' || name === '@') return 'HEAD'
  for (const full of [name, `refs/heads/${name}`, `refs/remotes/${name}`, `refs/runs/${name}`]) {
    if (refNameProblem(full) === undefined && (await history.ref(full)) !== null) return full
  }
  throw new CxvError('REV_UNKNOWN', `there is no branch ${name}`, {
    hint: '`cxv branch` lists them',
  })
}
