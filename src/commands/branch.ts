import { type CommitId, CxvError, printable } from '../base/index.ts'
import { fullRefName, type History, newRefName, shortRefName } from '../history/index.ts'
import { openRepository } from '../repo/index.ts'
import { shortId, subject } from './commit-view.ts'
import { defineCommand, erase, type TextStyle } from './types.ts'

export interface BranchView {
  readonly name: string
  readonly id: CommitId
  readonly subject: string
  readonly current: boolean
  readonly remote: boolean
}

export type BranchResult =
  | {
      readonly did: 'list'
      readonly branches: readonly BranchView[]
      readonly detached: CommitId | null
    }
  | { readonly did: 'create'; readonly name: string; readonly id: CommitId }
  | { readonly did: 'delete'; readonly name: string; readonly id: CommitId }
  | { readonly did: 'rename'; readonly name: string; readonly from: string }

export const command = erase(
  defineCommand({
    name: 'branch',
    summary: 'List, make, rename or delete branches',
    description:
      'A branch is a name that moves along with your commits. `cxv switch NAME` goes to one. A branch ' +
      'whose commits no other branch holds is deleted only with --force.',
    examples: [
      ['cxv branch', 'list branches'],
      ['cxv branch relabel', 'make a branch here'],
      ['cxv branch relabel v1.0', 'make one at a version'],
      ['cxv branch -m relabel labels-2026', 'rename one'],
      ['cxv branch -d labels-2026', 'delete one'],
    ],
    positionals: [
      { name: 'name', describe: 'The branch; with --rename and two names, its old one' },
      {
        name: 'start',
        describe: 'Version to begin at (default: HEAD); with --rename the new name',
      },
    ],
    options: {
      delete: { type: 'boolean', alias: 'd', describe: 'Delete the branch' },
      rename: { type: 'boolean', alias: 'm', describe: 'Rename the branch' },
      force: {
        type: 'boolean',
        alias: 'f',
        describe: 'Delete it although its commits would be lost',
      },
      all: { type: 'boolean', alias: 'a', describe: 'List the branches of remotes as well' },
    },
    async run(ctx, args): Promise<BranchResult> {
      await using repo = await openRepository(ctx, ctx.cwd)
      const { history } = repo
      const name = args._['name']?.[0]
      const start = args._['start']?.[0]
      const change = args.delete === true || args.rename === true
      if (name === undefined && !change) return await listBranches(history, args.all === true)
      return await repo.withWriteLock('branch', () => {
        if (name === undefined || (args.delete === true && args.rename === true)) {
          throw new CxvError('USAGE', 'name one branch to delete or to rename', {
            hint: 'cxv branch --help',
          })
        }
        if (args.delete === true) return deleteBranch(history, name, args.force === true)
        if (args.rename === true) return renameBranch(history, name, start)
        return createBranch(history, name, start ?? 'HEAD')
      })
    },
    *text(result, style) {
      switch (result.did) {
        case 'list':
          if (result.detached !== null) {
            yield style.green(`* (no branch: HEAD is at ${shortId(result.detached)})`)
          }
          yield* branchLines(result.branches, style)
          if (result.branches.length === 0) yield 'no branches yet: the first commit makes one'
          return
        case 'create':
          yield `branch ${printable(result.name)} is at ${shortId(result.id)}; \`cxv switch ${printable(result.name)}\` goes there`
          return
        case 'delete':
          yield `deleted branch ${printable(result.name)} (it was at ${shortId(result.id)})`
          return
        case 'rename':
          yield `branch ${printable(result.from)} is now ${printable(result.name)}`
      }
    },
  }),
)

function* branchLines(branches: readonly BranchView[], style: TextStyle): Iterable<string> {
  const width = Math.max(0, ...branches.map((branch) => branch.name.length))
  for (const branch of branches) {
    const name = `${branch.current ? '*' : ' '} ${printable(branch.name).padEnd(width)}`
    const shown = branch.current ? style.green(name) : branch.remote ? style.red(name) : name
    yield `${shown}  ${style.dim(shortId(branch.id))} ${branch.subject}`
  }
}

async function listBranches(history: History, all: boolean): Promise<BranchResult> {
  const head = await history.head()
  const rows = [...(await history.refs('refs/heads/'))]
  if (all) rows.push(...(await history.refs('refs/remotes/')))
  const branches: BranchView[] = []
  for (const { name, id } of rows) {
    branches.push({
      name: shortRefName(name),
      id,
      subject: subject((await history.facts(id)).message),
      current: name === head.branch,
      remote: name.startsWith('refs/remotes/'),
    })
  }
  return { did: 'list', branches, detached: head.branch === null ? head.commit : null }
}

async function createBranch(history: History, name: string, start: string): Promise<BranchResult> {
  const full = newRefName('heads', name)
  const taken = await history.ref(full)
  if (taken !== null) {
    throw new CxvError('REF_EXISTS', `branch ${name} exists, at ${shortId(taken)}`, {
      hint: `cxv switch ${name}`,
      data: { name, id: taken },
    })
  }
  const id = await history.resolve(start)
  // A branch holds data: a run's record has none to check out.
  await history.read(id)
  await history.casRef(full, null, id, `branch: created from ${start}`)
  return { did: 'create', name, id }
}

/** @throws REV_UNKNOWN */
async function existing(history: History, name: string): Promise<{ full: string; id: CommitId }> {
  const full = fullRefName('heads', name)
  const id = await history.ref(full)
  if (id !== null) return { full, id }
  throw new CxvError('REV_UNKNOWN', `there is no branch ${name}`, {
    hint: '`cxv branch` lists them',
    data: { name },
  })
}

async function deleteBranch(history: History, name: string, force: boolean): Promise<BranchResult> {
  const { full, id } = await existing(history, name)
  const head = await history.head()
  if (head.branch === full) {
    throw new CxvError('REF_INVALID', `${name} is the branch you are on`, {
      hint: '`cxv switch` to another one first',
    })
  }
  if (!force && !(await isHeldElsewhere(history, full, id))) {
    throw new CxvError('NOT_FAST_FORWARD', `no other branch or tag holds the commits of ${name}`, {
      hint: `push it, or lose them with \`cxv branch -d --force ${name}\``,
      data: { name, id },
    })
  }
  await history.casRef(full, id, null, 'branch: deleted')
  return { did: 'delete', name, id }
}

async function isHeldElsewhere(history: History, full: string, id: CommitId): Promise<boolean> {
  const { commit } = await history.head()
  if (commit !== null && (await history.isAncestor(id, commit))) return true
  for (const prefix of ['refs/heads/', 'refs/remotes/', 'refs/tags/']) {
    for (const row of await history.refs(prefix)) {
      if (row.name !== full && (await history.isAncestor(id, row.id))) return true
    }
  }
  return false
}

/** New name first, so that a kill between leaves both names, not none. */
async function renameBranch(
  history: History,
  first: string,
  second: string | undefined,
): Promise<BranchResult> {
  const head = await history.head()
  const current = head.branch === null ? undefined : shortRefName(head.branch)
  const from = second === undefined ? current : first
  const to = second ?? first
  if (from === undefined) {
    throw new CxvError('DETACHED_HEAD', 'you are on no branch', { hint: 'cxv branch -m OLD NEW' })
  }
  const full = newRefName('heads', to)
  if ((await history.ref(full)) !== null) {
    throw new CxvError('REF_EXISTS', `branch ${to} exists`, { hint: 'choose another name' })
  }
  if (from === current && head.commit === null) {
    await history.setHead(full, `branch: renamed ${from} to ${to}`)
    return { did: 'rename', name: to, from }
  }
  const { full: oldFull, id } = await existing(history, from)
  await history.casRef(full, null, id, `branch: renamed ${from} to ${to}`)
  if (head.branch === oldFull) await history.setHead(full, `branch: renamed ${from} to ${to}`)
  await history.casRef(oldFull, id, null, `branch: renamed to ${to}`)
  return { did: 'rename', name: to, from }
}
