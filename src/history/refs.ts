import { dirname, join } from 'node:path'
import {
  type CommitId,
  compareUtf8,
  type Context,
  CxvError,
  isCxvError,
  isCommitId,
  utf8,
} from '../base/index.ts'
import {
  acquireLock,
  appendLineDurable,
  crashPoint,
  filesUnder,
  readFileIfAny,
  removeEmptyFolders,
  removePath,
  syncFolder,
  temporaryBeside,
  writeFileAtomic,
} from '../io/index.ts'
import { damaged, type Oid, signature } from './git-objects.ts'
import { checkRefName, refNameProblem, shortRefName } from './ref-names.ts'
import type { Head, Person, ReflogRow, RefRow } from './types.ts'

/** Refs, HEAD and reflogs of one git folder. Writers take one lock: isomorphic-git has none. */
export interface Refs {
  head(): Promise<Head>
  setHead(target: string | CommitId, reason: string): Promise<void>
  ref(name: string): Promise<CommitId | null>
  refs(prefix: string): Promise<readonly RefRow[]>
  /** Also of refs that cannot be read. */
  names(): Promise<readonly string[]>
  casRef(name: string, from: CommitId | null, to: CommitId | null, reason: string): Promise<void>
  reflog(name: string): Promise<readonly ReflogRow[]>
}

const MAX_REF_BYTES = 4096
const MAX_PACKED_REFS_BYTES = 64 << 20
const MAX_REFLOG_BYTES = 256 << 20
/** A ref moves in milliseconds: whoever holds the lock this long is stuck. */
const LOCK_WAIT_MS = 30_000
const NO_COMMIT = '0'.repeat(40)
/** Chains of symbolic refs (refs/remotes/origin/HEAD) end here, as in git. */
const MAX_SYMBOLIC = 5

type RefValue = { readonly id: CommitId } | { readonly symbolic: string }

export function openRefs(folder: string, ctx: Context, author: () => Promise<Person>): Refs {
  async function readValue(name: string): Promise<RefValue | undefined> {
    const bytes = await readFileIfAny(join(folder, name), MAX_REF_BYTES)
    if (bytes === undefined) return undefined
    const text = Buffer.from(bytes).toString('utf8').trimEnd()
    const symbolic = /^ref: (\S+)$/.exec(text)?.[1]
    if (symbolic !== undefined && refNameProblem(symbolic) === undefined) return { symbolic }
    if (isCommitId(text)) return { id: text }
    throw damaged(`${name} is damaged: it names no commit`)
  }

  async function ref(name: string): Promise<CommitId | null> {
    let at = name
    for (let i = 0; i < MAX_SYMBOLIC; i++) {
      checkRefName(at)
      const value = await readValue(at).catch((error: unknown) => {
        // `refs/heads/a` may be the folder of `refs/heads/a/b`.
        if (isCxvError(error, 'FILE_SYSTEM') && error.data['system'] === 'EISDIR') return undefined
        throw error
      })
      if (value === undefined) return (await packedRefs()).get(at) ?? null
      if ('id' in value) return value.id
      at = value.symbolic
    }
    throw damaged(`${name} goes round in circles`)
  }

  async function packedRefs(): Promise<Map<string, CommitId>> {
    const bytes = await readFileIfAny(join(folder, 'packed-refs'), MAX_PACKED_REFS_BYTES)
    const found = new Map<string, CommitId>()
    if (bytes === undefined) return found
    for (const line of Buffer.from(bytes).toString('utf8').split('\n')) {
      const [id = '', name = ''] = line.split(' ', 2)
      if (isCommitId(id) && refNameProblem(name) === undefined) found.set(name, id)
    }
    return found
  }

  const looseNames = (): string[] =>
    filesUnder(join(folder, 'refs'))
      .map((rest) => `refs/${rest}`)
      .filter((name) => refNameProblem(name) === undefined)

  async function refs(prefix: string): Promise<readonly RefRow[]> {
    const found = new Map<string, CommitId>()
    for (const [name, id] of await packedRefs()) if (name.startsWith(prefix)) found.set(name, id)
    for (const name of looseNames()) {
      const id = name.startsWith(prefix) ? await ref(name) : null
      if (id !== null) found.set(name, id)
    }
    return [...found]
      .map(([name, id]) => ({ name, id }))
      .sort((a, b) => compareUtf8(a.name, b.name))
  }

  const names = async (): Promise<readonly string[]> =>
    [...new Set([...(await packedRefs()).keys(), ...looseNames()])].sort(compareUtf8)

  async function head(): Promise<Head> {
    const value = await readValue('HEAD')
    if (value === undefined) throw damaged('HEAD is missing')
    if ('id' in value) return { branch: null, commit: value.id }
    return { branch: value.symbolic, commit: await ref(value.symbolic) }
  }

  async function locked<T>(what: string, fn: () => Promise<T>): Promise<T> {
    const lock = await acquireLock(ctx, join(folder, 'cxv-refs.lock'), what, LOCK_WAIT_MS)
    try {
      return await fn()
    } finally {
      lock.release()
    }
  }

  async function log(
    name: string,
    from: CommitId | null,
    to: CommitId,
    reason: string,
  ): Promise<void> {
    const now = ctx.now()
    const who = signature(await author(), now, new Date(now).getTimezoneOffset())
    const why = reason.replace(/\s+/g, ' ').trim()
    appendLineDurable(join(folder, 'logs', name), `${from ?? NO_COMMIT} ${to} ${who}\t${why}`)
  }

  async function setHead(target: string | CommitId, reason: string): Promise<void> {
    if (!isCommitId(target)) checkRefName(target)
    await locked('move HEAD', async () => {
      const before = await head()
      const to = isCommitId(target) ? target : await ref(target)
      // git's order: the log first, so that no move goes unlogged.
      if (to !== null) await log('HEAD', before.commit, to, reason)
      const text = isCommitId(target) ? target : `ref: ${target}`
      writeFileAtomic(join(folder, 'HEAD'), utf8(`${text}\n`))
    })
  }

  async function casRef(
    name: string,
    from: CommitId | null,
    to: CommitId | null,
    reason: string,
  ): Promise<void> {
    checkRefName(name)
    await locked(`move ${shortRefName(name)}`, async () => {
      const current = await ref(name)
      if (current !== from) throw moved(name, from, current)
      if (to === null) {
        if (current !== null) await remove(name)
        return
      }
      if (current === null) await checkRoom(name)
      if (current === to) return
      const at = await head()
      // As git: tags have no log, which must name commits and a tag may be an object of its own.
      if (!name.startsWith('refs/tags/')) await log(name, current, to, reason)
      if (at.branch === name) await log('HEAD', current, to, reason)
      // A leftover beside it would be a ref of its own.
      writeFileAtomic(
        join(folder, name),
        utf8(`${to}\n`),
        0o644,
        temporaryBeside(join(folder, 'ref')),
      )
    })
  }

  /** A name cannot be both a file and a folder. */
  async function checkRoom(name: string): Promise<void> {
    const taken = (await refs('refs/')).find(
      (row) => row.name.startsWith(`${name}/`) || name.startsWith(`${row.name}/`),
    )
    if (taken !== undefined) {
      throw new CxvError(
        'REF_EXISTS',
        `${shortRefName(name)} is in the way of ${shortRefName(taken.name)}`,
        {
          hint: 'choose a name that is no folder of another one',
          data: { name, taken: taken.name },
        },
      )
    }
    // What deleted refs and their logs leave behind.
    removeEmptyFolders(join(folder, name), join(folder, 'refs'))
    removeEmptyFolders(join(folder, 'logs', name), join(folder, 'logs'))
  }

  async function remove(name: string): Promise<void> {
    const packed = await packedRefs()
    if (packed.delete(name)) {
      const lines = [...packed].map(([key, id]) => `${id} ${key}\n`)
      // Without the header's promises git works out for itself which entries are tags.
      writeFileAtomic(join(folder, 'packed-refs'), utf8(lines.join('')))
    }
    removePath(join(folder, name))
    crashPoint('rename')
    syncFolder(dirname(join(folder, name)))
    removePath(join(folder, 'logs', name))
    const keep = join(folder, ...name.split('/').slice(0, 2))
    removeEmptyFolders(dirname(join(folder, name)), keep)
    removeEmptyFolders(dirname(join(folder, 'logs', name)), join(folder, 'logs'))
  }

  async function reflog(name: string): Promise<readonly ReflogRow[]> {
    if (name !== 'HEAD') checkRefName(name)
    const bytes = await readFileIfAny(join(folder, 'logs', name), MAX_REFLOG_BYTES)
    if (bytes === undefined) return []
    return Buffer.from(bytes).toString('utf8').split('\n').flatMap(reflogRow).reverse()
  }

  return { head, setHead, ref, refs, names, casRef, reflog }
}

const REFLOG = /^([0-9a-f]{40}) ([0-9a-f]{40}) [^\t]* (\d{1,15}) [+-]\d{4}(?:\t(.*))?$/

/** A line that a crash cut short is passed over, as git does. */
function reflogRow(line: string): readonly ReflogRow[] {
  const match = REFLOG.exec(line)
  if (match === null) return []
  const [, from = '', to = '', seconds = '', reason = ''] = match
  return [
    {
      from: from === NO_COMMIT ? null : (from as CommitId),
      to: to as CommitId,
      timeMs: Number(seconds) * 1000,
      reason,
    },
  ]
}

function moved(name: string, expected: Oid | null, actual: Oid | null): CxvError {
  const say = (id: Oid | null): string => (id === null ? 'absent' : `at ${id.slice(0, 10)}`)
  return new CxvError(
    'REF_MOVED',
    `${shortRefName(name)} was expected ${say(expected)} and is ${say(actual)}`,
    {
      hint: 'another process moved it meanwhile: look with `cxv log`, then run the same command again',
      data: { ref: name, expected, actual },
    },
  )
}
