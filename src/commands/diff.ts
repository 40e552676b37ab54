import { type CommitId, compareUtf8, CxvError, printable, printableLine } from '../base/index.ts'
import { openRepository } from '../repo/index.ts'
import type { Repository } from '../repo/types.ts'
import { diffTables, type TableDiff } from '../table/index.ts'
import {
  changeLines,
  type Changes,
  collectChanges,
  commitChanges,
  diffRows,
  type FolderTally,
  summaryLine,
  tallyFolders,
} from './changes-view.ts'
import { shortId } from './commit-view.ts'
import { checkLimit } from './log.ts'
import { tableDiffLines } from './table-diff-text.ts'
import { type CommandContext, defineCommand, erase } from './types.ts'

export interface DiffResult {
  /** A commit; null: nothing yet. */
  readonly from: CommitId | null
  /** A commit, or `stage`: what the next commit will hold. */
  readonly to: CommitId | 'stage'
  readonly changes: Changes
  readonly folders: readonly FolderTally[]
  /** Rows, cells and class counts of declared tables that differ. */
  readonly tables: readonly TableDiff[]
  readonly show: 'files' | 'folders' | 'names'
  readonly limit: number
}

const DEFAULT_LIMIT = 100

export const command = erase(
  defineCommand({
    name: 'diff',
    summary: 'Show what differs between two versions',
    description:
      'Without a version: what is staged, against the last commit. With one: that version against the ' +
      'last commit. With two: the first against the second. `cxv status` compares the files on disk.',
    examples: [
      ['cxv diff', 'what the next commit will change'],
      ['cxv diff HEAD~1 HEAD', 'what the last commit changed'],
      ['cxv diff v1..v2 --stat', 'how many files changed in each folder from v1 to v2'],
      ['cxv diff v1 v2 --name-only', 'every changed path, for other programs'],
    ],
    positionals: [{ name: 'rev', describe: 'One version, two, or A..B', many: true }],
    options: {
      stat: { type: 'boolean', describe: 'Counts for each folder' },
      'name-only': { type: 'boolean', describe: 'All paths that differ, and nothing else' },
      limit: {
        type: 'number',
        alias: 'n',
        placeholder: 'N',
        describe: `Name at most N files (default: ${DEFAULT_LIMIT}); --json and --name-only give all`,
      },
    },
    async run(ctx, args): Promise<DiffResult> {
      await using repo = await openRepository(ctx, ctx.cwd)
      const limit = checkLimit(args.limit, DEFAULT_LIMIT)
      const revisions = splitRevisions(args._['rev'] ?? [])
      const pair =
        revisions.length === 0 ? await staged(repo, ctx) : await between(repo, ctx, revisions)
      return {
        ...pair,
        tables: args['name-only'] === true ? [] : await diffTables(ctx, repo, pair.from, pair.to),
        folders: tallyFolders(pair.changes.files),
        show: args['name-only'] === true ? 'names' : args.stat === true ? 'folders' : 'files',
        limit,
      }
    },
    *text({ from, to, changes, folders, tables, show, limit }, style) {
      if (show === 'names') {
        for (const { path } of changes.files) yield printableLine(path)
        return
      }
      const name = (id: CommitId | 'stage' | null): string =>
        id === null ? 'nothing' : id === 'stage' ? 'the stage' : shortId(id)
      yield style.dim(`from ${name(from)} to ${name(to)}`)
      yield summaryLine(changes)
      if (show === 'files') yield* changeLines(changes, limit, style)
      else {
        for (const { folder, added, removed, changed } of folders) {
          yield `${`+${added} -${removed} ~${changed}`.padEnd(24)} ${printable(folder === '' ? '.' : folder)}`
        }
      }
      yield* tableDiffLines(tables, style)
    },
  }),
)

/** @throws USAGE */
function splitRevisions(words: readonly string[]): readonly string[] {
  const [first] = words
  if (words.length === 1 && first?.includes('..') === true) {
    const [from = '', to = '', more] = first.split('..')
    if (more === undefined && !to.startsWith('.')) return [from || 'HEAD', to || 'HEAD']
  }
  if (words.length > 2 || words.some((word) => word.includes('..'))) {
    throw new CxvError('USAGE', 'give one version, two, or A..B', { hint: 'cxv diff --help' })
  }
  return words
}

async function between(
  { history }: Repository,
  ctx: CommandContext,
  [a = 'HEAD', b = 'HEAD']: readonly string[],
): Promise<Pick<DiffResult, 'from' | 'to' | 'changes'>> {
  const from = await history.resolve(a)
  const to = await history.resolve(b)
  return { from, to, changes: await commitChanges(history, from, to, ctx.signal) }
}

async function staged(
  repo: Repository,
  ctx: CommandContext,
): Promise<Pick<DiffResult, 'from' | 'to' | 'changes'>> {
  const { commit } = await repo.history.head()
  const tables = {
    before: commit === null ? [] : (await repo.history.read(commit)).tables,
    after: (await repo.config()).tables,
  }
  const rows = diffRows(
    await repo.history.manifest(commit, { asWritten: true, ctx }),
    await repo.stagedRows(),
    compareUtf8,
  )
  return { from: commit, to: 'stage', changes: await collectChanges(rows, tables, ctx.signal) }
}
