import { type CommitId, CxvError, isCxvError, printable } from '../base/index.ts'
import { refNameProblem, type TagFacts } from '../history/index.ts'
import type { KnownRun } from '../lineage/index.ts'
import { openRepository } from '../repo/index.ts'
import type { Repository } from '../repo/types.ts'
import { changeLines, type Changes, commitChanges, summaryLine } from './changes-view.ts'
import { commitLines, type CommitView, refNames, viewCommit } from './commit-view.ts'
import { checkLimit } from './log.ts'
import { runLines, runNamed, showRun, type ShownRun } from './show-run.ts'
import { type CommandContext, defineCommand, erase } from './types.ts'

export type ShowResult = ShownCommit | ShownRun

export interface ShownCommit {
  readonly kind: 'commit'
  /** Of an annotated tag: what it says. */
  readonly tag: TagFacts | null
  readonly commit: CommitView
  /** Against the first parent, or against nothing for a first commit. */
  readonly changes: Changes
  readonly limit: number
}

const DEFAULT_LIMIT = 20

/** What looks like a run's id is asked of the runs first; else a version goes before a run of that name. */
async function commitOrRun(
  ctx: CommandContext,
  repo: Repository,
  word: string,
): Promise<CommitId | KnownRun> {
  if (/^r[0-9a-z]{3,11}$/.test(word)) {
    const run = await runNamed(ctx, repo, word)
    if (run !== undefined) return run
  }
  try {
    return await repo.history.resolve(word)
  } catch (error) {
    const run = isCxvError(error, 'REV_UNKNOWN') ? await runNamed(ctx, repo, word) : undefined
    if (run === undefined) throw error
    return run
  }
}

export const command = erase(
  defineCommand({
    name: 'show',
    summary: 'Show one commit and what it changed, or one run',
    description: 'Compares a commit with its first parent. `cxv diff A B` compares any two.',
    examples: [
      ['cxv show', 'the last commit'],
      ['cxv show v1.0', 'the commit of a tag, and what the tag says'],
      ['cxv show r0mfzk3a7q2x', 'a run: its data, configuration and figures'],
    ],
    positionals: [
      {
        name: 'rev',
        describe: 'A version (default: HEAD), or a run: id, start of one, name or model id',
      },
    ],
    options: {
      limit: {
        type: 'number',
        alias: 'n',
        placeholder: 'N',
        describe: `Name at most N files (default: ${DEFAULT_LIMIT})`,
      },
    },
    async run(ctx, args): Promise<ShowResult> {
      await using repo = await openRepository(ctx, ctx.cwd)
      const { history } = repo
      const limit = checkLimit(args.limit, DEFAULT_LIMIT)
      const revision = args._['rev']?.[0] ?? 'HEAD'
      if (revision.includes(':')) {
        throw new CxvError('USAGE', `${revision} names a file of a version`, {
          hint: 'cxv cat --help',
        })
      }
      const meant = await commitOrRun(ctx, repo, revision)
      if (typeof meant !== 'string') return await showRun(ctx, repo, meant)
      const id = meant
      const tagName = `refs/tags/${revision}`
      const tagId = refNameProblem(tagName) === undefined ? await history.ref(tagName) : null
      const commit = await history.read(id)
      return {
        kind: 'commit',
        tag: tagId === null ? null : ((await history.tag(tagId)) ?? null),
        commit: viewCommit(commit, await refNames(history)),
        changes: await commitChanges(history, commit.parents[0] ?? null, id, ctx.signal),
        limit,
      }
    },
    *text(result, style) {
      if (result.kind === 'run') {
        yield* runLines(result, style)
        return
      }
      const { tag, commit, changes, limit } = result
      if (tag !== null) {
        yield style.yellow(`tag ${printable(tag.name)}`)
        if (tag.tagger) yield `Tagger: ${printable(`${tag.tagger.name} <${tag.tagger.email}>`)}`
        yield* [
          '',
          ...tag.message.split('\n').map((line) => `    ${printable(line)}`.trimEnd()),
          '',
        ]
      }
      yield* commitLines(commit, style)
      yield ''
      yield summaryLine(changes)
      yield* changeLines(changes, limit, style)
    },
  }),
)
