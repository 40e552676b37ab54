import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type CommitId, contentId, type ErrorCode, isCxvError } from '../base/index.ts'
import type { History, ManifestRow } from '../history/types.ts'
import { initRepository } from '../repo/index.ts'
import type { BranchResult } from './branch.ts'
import type { DiffResult } from './diff.ts'
import type { LogResult } from './log.ts'
import type { ReflogResult } from './reflog.ts'
import { VERBS } from './registry.ts'
import type { ShownCommit } from './show.ts'
import type { TagResult } from './tag.ts'
import type { CommandContext, TextStyle } from './types.ts'

const top = mkdtempSync(join(tmpdir(), 'cxv-verbs-'))
after(() => rmSync(top, { recursive: true, force: true }))

const PLAIN: TextStyle = {
  bold: (text) => text,
  dim: (text) => text,
  green: (text) => text,
  red: (text) => text,
  yellow: (text) => text,
}

const contextIn = (cwd: string): CommandContext => ({
  emit: () => undefined,
  signal: new AbortController().signal,
  now: () => Date.UTC(2026, 0, 2),
  random: (length) => new Uint8Array(length),
  cwd,
  env: {},
})

const row = (path: string, n: number): ManifestRow => ({
  path,
  size: n,
  executable: false,
  id: contentId(String(n).padStart(64, '0')),
})

interface Story {
  readonly history: History
  readonly commits: readonly CommitId[]
  readonly run: <R>(verb: string, args?: Args, ...words: string[]) => Promise<R & { text: string }>
}
type Args = Readonly<Record<string, unknown>>

/** Three commits on main: a, b added; a changed and c added; b moved to d/b. */
async function makeStory(): Promise<Story> {
  const cwd = mkdtempSync(join(top, 'repo-'))
  const repo = await initRepository(contextIn(cwd), cwd, { branch: 'main' })
  after(() => repo[Symbol.asyncDispose]())
  const { history } = repo
  const versions = [
    [row('a', 1), row('b', 2)],
    [row('a', 3), row('b', 2), row('c', 4)],
    [row('a', 3), row('c', 4), row('d/b', 2)],
  ]
  const commits: CommitId[] = []
  for (const [i, rows] of versions.entries()) {
    const before = commits.at(-1)
    const id = await history.writeCommit({
      rows,
      tables: [],
      parents: before === undefined ? [] : [before],
      message: `version ${i}\n\nwith a \u001b[31mbody`,
      author: { name: 'Ada', email: 'ada@example.org' },
      timeMs: Date.UTC(2026, 0, 1, 12, i),
      zoneMinutes: -60,
    })
    await history.casRef('refs/heads/main', before ?? null, id, `commit: version ${i}`)
    commits.push(id)
  }
  return {
    history,
    commits,
    async run(verb, args = {}, ...words) {
      const command = await VERBS.find((each) => each.name === verb)?.load()
      assert.ok(command)
      const [first, ...others] = command.positionals ?? []
      const _: Record<string, readonly string[]> = {}
      if (first !== undefined) _[first.name] = first.many === true ? words : words.slice(0, 1)
      for (const [i, each] of others.entries()) _[each.name] = words.slice(i + 1, i + 2)
      const outcome = await command.execute(contextIn(cwd), { ...args, _ })
      // What --json prints must be all there is: no undefined, no Map.
      assert.deepEqual(JSON.parse(JSON.stringify(outcome.json)), outcome.json)
      return Object.assign(outcome.json as never, { text: [...outcome.text(PLAIN)].join('\n') })
    },
  }
}

const fails = (promise: Promise<unknown>, code: ErrorCode): Promise<void> =>
  assert.rejects(promise, (error) => isCxvError(error, code))

test('log: newest first, with names, dates in the author’s zone, and a limit', async () => {
  const { run, commits, history } = await makeStory()
  const [a, b, c] = commits
  await history.casRef('refs/tags/v1', null, a ?? null, 'tag')
  await history.casRef('refs/remotes/origin/main', null, b ?? null, 'fetch')
  const all = await run<LogResult>('log')
  assert.deepEqual(
    all.commits.map((view) => view.id),
    [c, b, a],
  )
  assert.deepEqual(
    all.commits.map((view) => view.refs),
    [['HEAD -> main'], ['origin/main'], ['tag: v1']],
  )
  assert.equal(all.commits[0]?.time, '2026-01-01T13:02:00+01:00')
  assert.match(
    all.text,
    /^commit [0-9a-f]{40} \(HEAD -> main\)\nAuthor: Ada <ada@example.org>\nDate: {3}2026-01-01 13:02:00 \+01:00\nData: {3}3 files, 9 B\n\n {4}version 2\n\n {4}with a \?\[31mbody\n\ncommit /,
  )
  const two = await run<LogResult>('log', { limit: 2, oneline: true }, 'HEAD')
  assert.equal(two.more, true)
  assert.deepEqual(two.text.split('\n'), [
    `${c?.slice(0, 10)} (HEAD -> main) version 2`,
    `${b?.slice(0, 10)} (origin/main) version 1`,
  ])
  assert.deepEqual((await run<LogResult>('log', {}, 'v1')).commits.length, 1)
  await fails(run('log', { limit: 0 }), 'USAGE')
  await fails(run('log', {}, 'nope'), 'REV_UNKNOWN')
})

test('show: a commit against its first parent; a tag with what it says', async () => {
  const { run, commits } = await makeStory()
  const last = await run<ShownCommit>('show')
  assert.equal(last.commit.id, commits[2])
  assert.deepEqual(
    [last.changes.added, last.changes.removed, last.changes.moved],
    [{ files: 1, bytes: 2 }, { files: 1, bytes: 2 }, 1],
  )
  const first = await run<ShownCommit>('show', {}, 'HEAD~2')
  assert.deepEqual(first.changes.added, { files: 2, bytes: 3 })
  await run('tag', { message: 'as submitted' }, 'v1', 'HEAD~1')
  const tagged = await run<ShownCommit>('show', {}, 'v1')
  assert.equal(tagged.tag?.message, 'as submitted')
  assert.equal(tagged.commit.id, commits[1])
  assert.match(tagged.text, /~ a {2}1 B -> 3 B\n\+ c {2}4 B$/)
  await fails(run('show', {}, 'HEAD:a'), 'USAGE')
})

test('diff: two versions, A..B, one against HEAD, and the stage', async () => {
  const { run } = await makeStory()
  const forms = [['HEAD~2', 'HEAD'], ['HEAD~2..HEAD'], ['HEAD~2..'], ['HEAD~2']]
  for (const words of forms) {
    const result = await run<DiffResult>('diff', {}, ...words)
    assert.deepEqual(
      result.changes.files.map(({ change, path }) => [change, path]),
      [
        ['changed', 'a'],
        ['removed', 'b'],
        ['added', 'c'],
        ['added', 'd/b'],
      ],
    )
    assert.deepEqual(result.folders, [
      { folder: '', added: 1, removed: 1, changed: 1 },
      { folder: 'd', added: 1, removed: 0, changed: 0 },
    ])
  }
  const names = await run<DiffResult>('diff', { 'name-only': true }, 'HEAD', 'HEAD~1')
  assert.equal(names.text, 'b\nd/b')
  const some = await run<DiffResult>('diff', { limit: 1 }, 'HEAD~2')
  assert.match(some.text, /\.\.\. and 3 more files/)
  const stage = await run<DiffResult>('diff')
  assert.deepEqual([stage.to, stage.changes.files], ['stage', []])
  await fails(run('diff', {}, 'a', 'b', 'c'), 'USAGE')
  await fails(run('diff', {}, 'HEAD...HEAD~1'), 'USAGE')
})

test('branch: make, list, rename, delete; nothing is lost unasked', async () => {
  const { run, history, commits } = await makeStory()
  await run('branch', {}, 'topic', 'HEAD~1')
  await fails(run('branch', {}, 'topic'), 'REF_EXISTS')
  await fails(run('branch', {}, 'bad name'), 'REF_INVALID')
  await fails(run('branch', {}, '-x'), 'REF_INVALID')
  const list = await run<Extract<BranchResult, { did: 'list' }>>('branch')
  assert.deepEqual(
    list.branches.map(({ name, current }) => [name, current]),
    [
      ['main', true],
      ['topic', false],
    ],
  )
  await run('branch', { rename: true }, 'topic', 'labels/2026')
  await run('branch', { rename: true }, 'trunk')
  assert.equal((await history.head()).branch, 'refs/heads/trunk')
  assert.equal(await history.ref('refs/heads/main'), null)
  await fails(run('branch', { delete: true }, 'trunk'), 'REF_INVALID')
  await fails(run('branch', { delete: true }, 'main'), 'REV_UNKNOWN')
  await run('branch', { delete: true }, 'labels/2026')
  const lone = await history.writeCommit({
    rows: [],
    tables: [],
    parents: [commits[0] as CommitId],
    message: 'lone',
    author: { name: 'a', email: 'a@b' },
    timeMs: 0,
    zoneMinutes: 0,
  })
  await history.casRef('refs/heads/lone', null, lone, 'branch')
  await fails(run('branch', { delete: true }, 'lone'), 'NOT_FAST_FORWARD')
  await run('branch', { delete: true, force: true }, 'lone')
  assert.deepEqual(
    (await history.refs('refs/heads/')).map(({ name }) => name),
    ['refs/heads/trunk'],
  )
})

test('tag: light or with a message, listed, deleted, never moved', async () => {
  const { run, history, commits } = await makeStory()
  await run('tag', {}, 'v1', 'HEAD~1')
  await run('tag', { message: 'as submitted\n\nto MICCAI' }, 'v2')
  await fails(run('tag', {}, 'v1'), 'REF_EXISTS')
  const list = await run<Extract<TagResult, { did: 'list' }>>('tag')
  assert.deepEqual(
    list.tags.map(({ name, commit, message }) => [name, commit, message]),
    [
      ['v1', commits[1], null],
      ['v2', commits[2], 'as submitted\n\nto MICCAI'],
    ],
  )
  assert.match(list.text, /^v1 {2}[0-9a-f]{10} version 1\nv2 {2}[0-9a-f]{10} as submitted$/)
  assert.equal(await history.resolve('v2'), commits[2])
  await run('tag', { delete: true }, 'v2')
  assert.equal(await history.ref('refs/tags/v2'), null)
  await fails(run('tag', { delete: true }, 'v2'), 'REV_UNKNOWN')
  await fails(run('tag', { delete: true }), 'USAGE')
})

test('reflog: where a branch was, as versions for other verbs', async () => {
  const { run, commits } = await makeStory()
  const log = await run<ReflogResult>('reflog', {}, 'main')
  assert.deepEqual(
    log.moves.map(({ selector, to, reason }) => [selector, to, reason]),
    [
      ['main@{0}', commits[2], 'commit: version 2'],
      ['main@{1}', commits[1], 'commit: version 1'],
      ['main@{2}', commits[0], 'commit: version 0'],
    ],
  )
  assert.equal((await run<ShownCommit>('show', {}, 'main@{2}')).commit.id, commits[0])
  assert.equal((await run<ReflogResult>('reflog', { limit: 1 })).moves.length, 1)
  await fails(run('reflog', {}, 'nope'), 'REV_UNKNOWN')
})
