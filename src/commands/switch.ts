import { type CommitId, type Context, CxvError } from '../base/index.ts'
import { newRefName } from '../history/index.ts'
import type { History } from '../history/types.ts'
import { checkoutCommit, describeCheckout, openRepository } from '../repo/index.ts'
import type { CheckoutPlan, Repository } from '../repo/types.ts'
import { defineCommand, erase } from './types.ts'

interface Destination {
  readonly to: string | undefined
  /** A branch to make first. */
  readonly create: string | undefined
  readonly detach: boolean
  readonly force: boolean
}

interface Switched extends CheckoutPlan {
  /** Null: detached. */
  readonly branch: string | null
  readonly commit: CommitId | null
  /** The remote's branch that this one was made from. */
  readonly createdFrom?: string
}

export const command = erase(
  defineCommand({
    name: 'switch',
    summary: 'Go to another branch or version; the work tree follows',
    description:
      'Files with changes that are in no version are never overwritten without --force. Interrupted, the same command finishes it.',
    examples: [
      ['cxv switch main', ''],
      [
        'cxv switch relabel',
        'a branch that only a remote has is made here, where the remote has it',
      ],
      ['cxv switch -c relabelled', 'make a branch here and go to it'],
      ['cxv switch --detach v1.2', 'look at a tag'],
    ],
    positionals: [{ name: 'to', describe: 'Branch, or with --detach any revision' }],
    options: {
      create: {
        type: 'string',
        alias: 'c',
        placeholder: 'NAME',
        describe: 'Make this branch first (at TO, or here)',
      },
      detach: { type: 'boolean', describe: 'Go to a commit without a branch' },
      force: { type: 'boolean', alias: 'f', describe: 'Lose staged and local changes' },
    },
    async run(ctx, args) {
      await using repo = await openRepository(ctx, ctx.cwd)
      // Under the lock from the first look on: what another process commits meanwhile is not gone back behind.
      return await repo.withWriteLock('switch', () =>
        switchTo(ctx, repo, {
          to: args._['to']?.[0],
          create: args.create,
          detach: args.detach === true,
          force: args.force === true,
        }),
      )
    },
    *text(r) {
      if (r.createdFrom !== undefined) yield `a new branch, made from ${r.createdFrom}`
      const where =
        r.branch === null
          ? `detached at ${r.commit?.slice(0, 10)}`
          : `on ${r.branch.replace('refs/heads/', '')}`
      yield `${where}; ${describeCheckout(r)}`
    },
  }),
)

/** The branch of that name which exactly one remote has. */
async function ofOneRemote(
  history: History,
  branch: string,
): Promise<{ readonly name: string; readonly id: CommitId } | undefined> {
  const found = (await history.refs('refs/remotes/'))
    .map(({ name, id }) => ({ name: name.slice('refs/remotes/'.length), id }))
    .filter(({ name }) => name.slice(name.indexOf('/') + 1) === branch)
  return found.length === 1 ? found[0] : undefined
}

async function switchTo(
  ctx: Context,
  repo: Repository,
  { to, create, detach, force }: Destination,
): Promise<Switched> {
  if (create !== undefined) {
    const branch = newRefName('heads', create)
    if ((await repo.history.ref(branch)) !== null) {
      throw new CxvError('REF_EXISTS', `branch ${create} exists`, {
        hint: `\`cxv switch ${create}\``,
      })
    }
    const head = await repo.history.head()
    const commit = to === undefined ? head.commit : await repo.history.resolve(to)
    if (commit === null) {
      await repo.history.setHead(branch, `switch: to ${create}`)
      return { branch, commit: null, write: [], remove: [], bytes: 0 }
    }
    if (commit === head.commit) {
      // Nothing on disk changes, so what is staged and edited comes along, as with git.
      await repo.history.casRef(branch, null, commit, `branch: created from ${to ?? 'HEAD'}`)
      await repo.history.setHead(branch, `switch: to ${create}`)
      return { branch, commit, write: [], remove: [], bytes: 0 }
    }
    const plan = await checkoutCommit(ctx, repo, commit, {
      branch,
      force,
      reason: `switch: to ${create}`,
    })
    return { branch, commit, ...plan }
  }
  if (to === undefined)
    throw new CxvError('USAGE', 'switch to what?', { hint: '`cxv branch` lists branches' })
  if (detach) {
    const commit = await repo.history.resolve(to)
    const plan = await checkoutCommit(ctx, repo, commit, {
      branch: null,
      force,
      reason: `switch: to ${to}`,
    })
    return { branch: null, commit, ...plan }
  }
  const branch = `refs/heads/${to}`
  const known = await repo.history.ref(branch)
  const tracked = known === null ? await ofOneRemote(repo.history, to) : undefined
  const commit = known ?? tracked?.id
  if (commit === undefined) {
    throw new CxvError('REV_UNKNOWN', `there is no branch ${to}`, {
      hint: `\`cxv branch\` lists them; \`cxv switch -c ${to}\` makes one; \`cxv switch --detach ${to}\` goes to a tag or commit`,
    })
  }
  const plan = await checkoutCommit(ctx, repo, commit, {
    branch,
    force,
    reason: `switch: to ${to}`,
  })
  return { branch, commit, ...plan, ...(tracked && { createdFrom: tracked.name }) }
}
