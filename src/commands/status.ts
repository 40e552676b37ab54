import { formatBytes, formatCount, plural, printableLine } from '../base/index.ts'
import { computeStatus, openRepository } from '../repo/index.ts'
import type { Status } from '../repo/types.ts'
import { defineCommand, erase, type TextStyle } from './types.ts'

const SHOWN = 20

export const command = erase(
  defineCommand({
    name: 'status',
    summary: 'Show what is staged, changed and untracked',
    options: {},
    positionals: [{ name: 'path', describe: 'Only below this folder' }],
    examples: [['cxv status', '']],
    async run(ctx, args): Promise<Status> {
      await using repo = await openRepository(ctx, ctx.cwd)
      const path = args._['path']?.[0]
      return await computeStatus(
        ctx,
        repo,
        path === undefined ? {} : { under: repo.toRepoPath(ctx.cwd, path) },
      )
    },
    *text(s, style) {
      const branch = s.branch?.replace('refs/heads/', '')
      const at = s.commit === null ? 'no commits yet' : `at ${s.commit.slice(0, 10)}`
      yield branch === undefined ? `detached ${at}` : `on branch ${style.bold(branch)}, ${at}`
      yield `${plural(s.tracked, 'file')} tracked, ${formatBytes(s.trackedBytes)}`
      if (s.notCheckedOut > 0) {
        yield `${plural(s.notCheckedOut, 'file')} not checked out (cloned without data; \`cxv pull\` brings them)`
      }
      if (s.tablesChanged) yield 'table declarations changed; the next commit records them'
      yield* section(
        'staged',
        s.staged.map((r) => [r.change, r.path] as const),
        style.green,
        style,
      )
      const changed = s.unstaged.filter((u) => u.state !== 'untracked')
      yield* section(
        'not staged (`cxv add` stages it)',
        changed.map((r) => [r.state, r.path] as const),
        style.red,
        style,
      )
      yield* section(
        'untracked (`cxv add` takes it up)',
        collapse(s.unstaged.filter((u) => u.state === 'untracked').map((u) => u.path)),
        style.red,
        style,
      )
      if (s.staged.length + s.unstaged.length === 0 && !s.tablesChanged)
        yield 'nothing to commit, the work tree is as committed'
    },
  }),
)

function* section(
  title: string,
  rows: readonly (readonly [word: string, path: string])[],
  paint: (text: string) => string,
  style: TextStyle,
): Iterable<string> {
  if (rows.length === 0) return
  yield ''
  yield `${title}:`
  for (const [word, path] of rows.slice(0, SHOWN))
    yield `  ${paint(word.padEnd(9))} ${printableLine(path)}`
  if (rows.length > SHOWN)
    yield style.dim(`  and ${formatCount(rows.length - SHOWN)} more; --json lists all`)
}

/** Untracked files of one top folder become one line when there are many. */
function collapse(paths: readonly string[]): readonly (readonly [string, string])[] {
  const byTop = new Map<string, string[]>()
  for (const path of paths) {
    const top = path.includes('/') ? `${path.slice(0, path.indexOf('/'))}/` : path
    const list = byTop.get(top) ?? []
    list.push(path)
    byTop.set(top, list)
  }
  return [...byTop].flatMap(([top, list]) =>
    list.length > 5
      ? [['new', `${top} (${plural(list.length, 'file')})`] as const]
      : list.map((path) => ['new', path] as const),
  )
}
