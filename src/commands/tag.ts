import { type CommitId, CxvError, printable } from '../base/index.ts'
import { fullRefName, type History, newRefName, shortRefName } from '../history/index.ts'
import { openRepository } from '../repo/index.ts'
import type { Repository } from '../repo/types.ts'
import { commitOf, shortId, subject } from './commit-view.ts'
import { type CommandContext, defineCommand, erase } from './types.ts'

export interface TagView {
  readonly name: string
  readonly commit: CommitId
  /** What the tag says; without a message of its own, null. */
  readonly message: string | null
  readonly subject: string
}

export type TagResult =
  | { readonly did: 'list'; readonly tags: readonly TagView[] }
  | { readonly did: 'create'; readonly name: string; readonly commit: CommitId }
  | { readonly did: 'delete'; readonly name: string; readonly commit: CommitId }

export const command = erase(
  defineCommand({
    name: 'tag',
    summary: 'List, make or delete tags: names of versions that do not move',
    examples: [
      ['cxv tag', 'list tags'],
      ['cxv tag v1.0 -m "as submitted"', 'name the last commit'],
      ['cxv tag v0.9 HEAD~3', 'name an older one'],
      ['cxv tag -d v0.9', 'delete a tag'],
    ],
    positionals: [
      { name: 'name', describe: 'The tag' },
      { name: 'rev', describe: 'Version to name (default: HEAD)' },
    ],
    options: {
      message: {
        type: 'string',
        alias: 'm',
        placeholder: 'TEXT',
        describe: 'Say why; keeps your name and the time as well',
      },
      delete: { type: 'boolean', alias: 'd', describe: 'Delete the tag' },
      list: {
        type: 'boolean',
        alias: 'l',
        describe: 'List tags; with a name, those that begin so',
      },
    },
    async run(ctx, args): Promise<TagResult> {
      await using repo = await openRepository(ctx, ctx.cwd)
      const { history } = repo
      const name = args._['name']?.[0]
      if (args.list === true || (name === undefined && args.delete !== true)) {
        return await listTags(history, name ?? '')
      }
      if (name === undefined) {
        throw new CxvError('USAGE', 'name the tag to delete', { hint: '`cxv tag` lists them' })
      }
      return await repo.withWriteLock('tag', () =>
        args.delete === true
          ? deleteTag(history, name)
          : createTag(repo, ctx, {
              name,
              rev: args._['rev']?.[0] ?? 'HEAD',
              message: args.message,
            }),
      )
    },
    *text(result, style) {
      if (result.did === 'list') {
        const width = Math.max(0, ...result.tags.map((tag) => tag.name.length))
        for (const tag of result.tags) {
          const what = tag.message === null ? tag.subject : subject(tag.message)
          yield `${printable(tag.name).padEnd(width)}  ${style.dim(shortId(tag.commit))} ${what}`
        }
        return
      }
      const done = result.did === 'create' ? 'is at' : 'is deleted; it was at'
      yield `tag ${printable(result.name)} ${done} ${shortId(result.commit)}`
    },
  }),
)

async function listTags(history: History, prefix: string): Promise<TagResult> {
  const tags: TagView[] = []
  for (const row of await history.refs('refs/tags/')) {
    const name = shortRefName(row.name)
    if (!name.startsWith(prefix)) continue
    const commit = await commitOf(history, row)
    tags.push({
      name,
      commit,
      message: (await history.tag(row.id))?.message ?? null,
      subject: subject((await history.facts(commit)).message),
    })
  }
  return { did: 'list', tags }
}

async function createTag(
  repo: Repository,
  ctx: CommandContext,
  { name, rev, message }: { name: string; rev: string; message: string | undefined },
): Promise<TagResult> {
  const { history } = repo
  const full = newRefName('tags', name)
  const commit = await history.resolve(rev)
  const taken = await history.ref(full)
  if (taken !== null) {
    throw new CxvError(
      'REF_EXISTS',
      `tag ${name} exists, at ${shortId((await history.facts(taken)).id)}`,
      {
        hint: `a tag does not move: choose another name, or delete it with \`cxv tag -d ${name}\``,
        data: { name },
      },
    )
  }
  const timeMs = ctx.now()
  const id =
    message === undefined
      ? commit
      : await history.writeTag({
          target: commit,
          name,
          message,
          author: await repo.identity(),
          timeMs,
          zoneMinutes: new Date(timeMs).getTimezoneOffset(),
        })
  await history.casRef(full, null, id, `tag: ${name}`)
  return { did: 'create', name, commit }
}

async function deleteTag(history: History, name: string): Promise<TagResult> {
  const full = fullRefName('tags', name)
  const id = await history.ref(full)
  if (id === null) {
    throw new CxvError('REV_UNKNOWN', `there is no tag ${name}`, {
      hint: '`cxv tag` lists them',
      data: { name },
    })
  }
  const commit = (await history.facts(id)).id
  await history.casRef(full, id, null, 'tag: deleted')
  return { did: 'delete', name, commit }
}
