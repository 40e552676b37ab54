import { createHash } from 'node:crypto'
import { type CommitId, compareUtf8, CxvError, isCommitId, utf8 } from '../base/index.ts'
import type { CommitFacts, Person } from './types.ts'

/** SHA-1 of a git object: 40 lower-case hex digits. A `CommitId` is one of a commit (or of a tag on one). */
export type Oid = string

export type ObjectType = 'commit' | 'tree' | 'blob' | 'tag'

export interface GitObject {
  readonly type: ObjectType
  readonly bytes: Uint8Array
}

export interface NewObject extends GitObject {
  readonly oid: Oid
}

/** git's own modes; cxv's trees hold files and folders only. */
export const MODE_FILE = '100644'
export const MODE_FOLDER = '40000'

export interface TreeEntry {
  readonly mode: string
  readonly name: string
  readonly oid: Oid
}

/** No object of the history is larger: shards, records and trees are small by design. */
export const MAX_OBJECT_BYTES = 64 << 20

export const damaged = (message: string, cause?: unknown): CxvError =>
  new CxvError('FORMAT_INVALID', message, {
    hint: '`cxv fsck` lists what is damaged; a fetch from a remote brings sound history back',
    ...(cause === undefined ? {} : { cause }),
  })

export function objectId(type: ObjectType, bytes: Uint8Array): Oid {
  return createHash('sha1').update(`${type} ${bytes.length}\0`).update(bytes).digest('hex')
}

export const newObject = (type: ObjectType, bytes: Uint8Array): NewObject => ({
  type,
  bytes,
  oid: objectId(type, bytes),
})

/** git sorts a folder as if its name ended in `/`. */
const treeKey = (entry: TreeEntry): string =>
  entry.mode === MODE_FOLDER ? `${entry.name}/` : entry.name

export function encodeTree(entries: readonly TreeEntry[]): Uint8Array {
  const parts: Uint8Array[] = []
  for (const entry of [...entries].sort((a, b) => compareUtf8(treeKey(a), treeKey(b)))) {
    parts.push(utf8(`${entry.mode} ${entry.name}\0`), Buffer.from(entry.oid, 'hex'))
  }
  return Buffer.concat(parts)
}

const BAD_NAME = /^\.{0,2}$|^\.git$|[/\u0000]/i

/** @throws FORMAT_INVALID for anything `git fsck --strict` would object to, and for links and submodules */
export function decodeTree(bytes: Uint8Array): readonly TreeEntry[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const entries: TreeEntry[] = []
  const names = new Set<string>()
  let last: string | undefined
  for (let at = 0; at < buffer.length;) {
    const space = buffer.indexOf(0x20, at)
    const nul = buffer.indexOf(0, at)
    if (space < 0 || nul < space || nul + 21 > buffer.length) throw damaged('a tree is cut short')
    const mode = buffer.toString('latin1', at, space)
    const name = buffer.toString('utf8', space + 1, nul)
    if (mode !== MODE_FILE && mode !== MODE_FOLDER && mode !== '100755') {
      throw damaged(`a tree has an entry of mode ${mode}`)
    }
    if (BAD_NAME.test(name)) throw damaged('a tree has an entry with a forbidden name')
    const entry = { mode, name, oid: buffer.toString('hex', nul + 1, nul + 21) }
    const key = treeKey(entry)
    if ((last !== undefined && compareUtf8(last, key) >= 0) || names.has(name)) {
      throw damaged('a tree is not sorted')
    }
    entries.push(entry)
    names.add(name)
    last = key
    at = nul + 21
  }
  return entries
}

export interface NewCommit {
  readonly tree: Oid
  readonly parents: readonly Oid[]
  readonly message: string
  readonly author: Person
  readonly timeMs: number
  readonly zoneMinutes: number
}

/** What git strips from names: the signs of its own syntax, and line ends. */
const plainName = (text: string): string =>
  text
    .replace(/[<>\u0000-\u001f\u007f]/g, ' ')
    .replace(/ {2,}/g, ' ')
    .trim()

export function signature(author: Person, timeMs: number, zoneMinutes: number): string {
  const name = plainName(author.name) || 'unknown'
  const email = plainName(author.email).replaceAll(' ', '')
  const seconds = Math.max(0, Math.floor(timeMs / 1000))
  const off = Math.min(Math.abs(Math.trunc(zoneMinutes)), 14 * 60)
  const pad = (n: number): string => String(n).padStart(2, '0')
  const zone = `${zoneMinutes > 0 && off > 0 ? '-' : '+'}${pad(Math.floor(off / 60))}${pad(off % 60)}`
  return `${name} <${email}> ${seconds} ${zone}`
}

/** A message as git stores it: no NUL, no space at line ends, one new line at the end. */
const plainMessage = (text: string): string =>
  `${text
    .replaceAll('\u0000', '')
    .replace(/\r\n?/g, '\n')
    .replace(/[ \t]+$/gm, '')
    .replace(/^\n+|\n+$/g, '')}\n`

export function encodeCommit(commit: NewCommit): Uint8Array {
  const who = signature(commit.author, commit.timeMs, commit.zoneMinutes)
  const lines = [`tree ${commit.tree}`, ...commit.parents.map((parent) => `parent ${parent}`)]
  lines.push(`author ${who}`, `committer ${who}`)
  return utf8(`${lines.join('\n')}\n\n${plainMessage(commit.message)}`)
}

export interface ReadCommit extends CommitFacts {
  readonly tree: Oid
}

const SIGNATURE = /^(.*?) ?<([^<>]*)> (\d{1,15}) ([+-])(\d{2})(\d{2})$/

/** @throws FORMAT_INVALID */
export function decodeCommit(id: CommitId, bytes: Uint8Array): ReadCommit {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')
  const end = text.indexOf('\n\n')
  const lines = (end < 0 ? text : text.slice(0, end)).split('\n')
  const tree = /^tree ([0-9a-f]{40})$/.exec(lines[0] ?? '')?.[1]
  const parents: CommitId[] = []
  let next = 1
  for (; lines[next]?.startsWith('parent ') === true; next++) {
    const parent = (lines[next] ?? '').slice(7)
    if (!isCommitId(parent)) throw damaged(`commit ${id} has a bad parent`)
    parents.push(parent)
  }
  const author = SIGNATURE.exec((lines[next] ?? '').replace(/^author /, ''))
  if (tree === undefined || author === null) throw damaged(`${id} is not a well-formed commit`)
  const [, name = '', email = '', seconds = '', sign, hours = '', minutes = ''] = author
  const zone = Number(hours) * 60 + Number(minutes)
  return {
    id,
    tree,
    parents,
    message: (end < 0 ? '' : text.slice(end + 2)).replace(/\n+$/, ''),
    author: { name, email },
    timeMs: Number(seconds) * 1000,
    zoneMinutes: sign === '+' && zone > 0 ? -zone : zone,
  }
}

export interface ReadTag {
  readonly target: Oid
  readonly targetType: ObjectType
  readonly name: string
  readonly tagger: Person | undefined
  readonly timeMs: number | undefined
  readonly message: string
}

export interface NewTag {
  readonly target: CommitId
  readonly name: string
  readonly message: string
  readonly author: Person
  readonly timeMs: number
  readonly zoneMinutes: number
}

export const encodeTag = (tag: NewTag): Uint8Array =>
  utf8(
    `object ${tag.target}\ntype commit\ntag ${tag.name}\n` +
      `tagger ${signature(tag.author, tag.timeMs, tag.zoneMinutes)}\n\n${plainMessage(tag.message)}`,
  )

const TAG =
  /^object ([0-9a-f]{40})\ntype (commit|tree|blob|tag)\ntag ([^\n]+)\n(?:tagger ([^\n]*)\n)?/

/** @throws FORMAT_INVALID */
export function decodeTag(oid: Oid, bytes: Uint8Array): ReadTag {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')
  const match = TAG.exec(text)
  if (match === null) throw damaged(`${oid} is not a well-formed tag`)
  const tagger = SIGNATURE.exec(match[4] ?? '')
  const end = text.indexOf('\n\n')
  return {
    target: match[1] ?? '',
    targetType: match[2] as ObjectType,
    name: match[3] ?? '',
    tagger: tagger === null ? undefined : { name: tagger[1] ?? '', email: tagger[2] ?? '' },
    timeMs: tagger === null ? undefined : Number(tagger[3]) * 1000,
    message: end < 0 ? '' : text.slice(end + 2).replace(/\n+$/, ''),
  }
}

/** What an object names: a commit its tree and parents, a tree its entries, a tag its target. */
export function linksOf(oid: Oid, { type, bytes }: GitObject): readonly Oid[] {
  switch (type) {
    case 'blob':
      return []
    case 'tree':
      return decodeTree(bytes).map((entry) => entry.oid)
    case 'commit': {
      const { tree, parents } = decodeCommit(oid as CommitId, bytes)
      return [tree, ...parents]
    }
    case 'tag':
      return [decodeTag(oid, bytes).target]
  }
}
