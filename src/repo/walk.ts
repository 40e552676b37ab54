import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { pathProblem } from '../format/index.ts'
import { type FolderMember, HIDDEN_TEMPORARY, lstatIfAny, readFolder } from '../io/index.ts'
import type { StatFacts } from '../store/types.ts'
import { type IgnoreRules, isReserved, RULES_FILE } from './ignore.ts'
import { encodeFacts, FACTS_BYTES } from './stat-cache.ts'

/** Told of all that lies under a folder; what is tracked is for it to know. Paths are the repository's. */
export interface WalkSink {
  /** @param facts as `encodeFacts` wrote them at `at`; valid during the call */
  file(path: string, facts: Uint8Array, at: number): void
  /** A file that `WalkRules.looksAt` does not want to know about. */
  unseen?(path: string): void
  link(path: string): void
  /** Neither file nor folder nor link. */
  special(path: string): void
  /**
   * Named as cxv's own folder or git's, not at the top, or in bytes that are no UTF-8: never tracked, nothing
   * below it is told.
   */
  reserved(path: string): void
  /** Ignored by the rules; of a folder, nothing below it is told. */
  hidden(path: string, kind: FolderMember['kind']): void
}

export interface WalkRules {
  readonly rules: IgnoreRules
  readonly signal: AbortSignal
  /** Nothing is ignored. */
  readonly force: boolean
  /** Whether a file's facts are wanted: `lstat` is most of a walk's time. Default: of every file. */
  readonly looksAt?: ((path: string) => boolean) | undefined
}

/** Links are not followed; cxv's own folder, git's at the top, and leftovers are passed over. */
export async function walkFolder(
  root: string,
  under: string,
  { rules, signal, force, looksAt }: WalkRules,
  sink: WalkSink,
): Promise<void> {
  for (let folder = ''; folder !== under;) {
    await rules.enter(folder)
    const rest = under.slice(folder === '' ? 0 : folder.length + 1)
    const next = rest.split('/')[0] ?? ''
    folder = folder === '' ? next : `${folder}/${next}`
  }
  const visit = async (folder: string): Promise<void> => {
    signal.throwIfAborted()
    const members = readFolder(join(root, folder))
    if (members.some(({ name }) => name === RULES_FILE)) await rules.enter(folder)
    for (const { name, kind } of members) {
      const reserved = isReserved(name)
      if ((reserved && folder === '') || isLeftover(name)) continue
      const path = folder === '' ? name : `${folder}/${name}`
      if (!force && rules.ignores(path, kind === 'folder')) {
        if (!reserved) sink.hidden(path, kind)
      } else if (reserved || isUndecodable(root, path)) sink.reserved(path)
      else if (kind === 'folder') await visit(path)
      else if (kind === 'symlink') sink.link(path)
      else if (kind === 'other') sink.special(path)
      else if (looksAt?.(path) === false) sink.unseen?.(path)
      else {
        tellFile(sink, root, path)
      }
    }
  }
  // A file is asked about as a folder of one.
  const isFile = under !== '' && lstatIfAny(`${root}/${under}`)?.isFile() === true
  if (!isFile) await visit(under)
  else if (!force && rules.ignores(under, false)) sink.hidden(under, 'file')
  else tellFile(sink, root, under)
}

/** Of a checkout that was killed: the next one there removes it. */
const isLeftover = (name: string): boolean =>
  name.startsWith('.cxv-') && HIDDEN_TEMPORARY.test(name)

/** Node shows bytes that are no UTF-8 as U+FFFD, which a name may also have: under that, nothing is found. */
const isUndecodable = (root: string, path: string): boolean =>
  path.includes('\ufffd') && lstatIfAny(`${root}/${path}`) === undefined

/** Why a file of this name cannot be tracked, or undefined. */
export const nameProblem = (root: string, path: string): string | undefined =>
  isUndecodable(root, path) ? 'is not valid UTF-8' : pathProblem(path)

const scratch = new Uint8Array(FACTS_BYTES)

/** Tells of a file, unless it is gone. */
export function tellFile(sink: Pick<WalkSink, 'file'>, root: string, path: string): void {
  const stat = statOf(`${root}/${path}`)
  if (stat === undefined) return
  encodeFacts(stat, scratch, 0)
  sink.file(path, scratch, 0)
}

/** Undefined when there is no regular file. */
export function statOf(absolutePath: string): StatFacts | undefined {
  const stat = lstatIfAny(absolutePath)
  return stat?.isFile() === true ? factsOfStat(stat) : undefined
}

export const factsOfStat = (stat: NonNullable<ReturnType<typeof lstatIfAny>>): StatFacts => ({
  size: Number(stat.size),
  mtimeNs: stat.mtimeNs,
  ctimeNs: stat.ctimeNs,
  ino: stat.ino,
  dev: stat.dev,
  executable: (stat.mode & 0o100n) !== 0n,
})

export interface WalkSetup {
  readonly root: string
  readonly under: string
}

/**
 * Some of what a walk on another thread met, in its order. Of its files only the names are known; whichever
 * thread claims the batch looks at them.
 */
export interface WalkBatch {
  /** Counted from 0. */
  readonly place: number
  /** Paths joined by NUL, `` for none. */
  readonly files: string
  readonly others: readonly (readonly [
    to: 'link' | 'special' | 'reserved' | FolderMember['kind'],
    path: string,
  ])[]
  /** Four bytes, 1 from when a thread has taken the batch. */
  readonly claim: SharedArrayBuffer
}

/** What was seen of the files of a batch. */
export interface Looked {
  /** `FACTS_BYTES` for each file; all `GONE` for one that was gone, or was none any more. */
  readonly facts: Uint8Array<ArrayBuffer>
  /** SHA-256 of the batch and these: the same walk of the same tree makes the same. */
  readonly digest: Uint8Array
}

/** What the thread sends: every batch, a look at each that it claimed, and its end, by which all are claimed. */
export type WalkMessage =
  | { readonly type: 'batch'; readonly batch: WalkBatch }
  | { readonly type: 'looked'; readonly place: number; readonly looked: Looked }
  | { readonly type: 'end' }

/** Few enough that a look takes milliseconds, and paths are sent before the collector has moved them twice. */
export const BATCH_FILES = 1_024
const GONE = 0xff

/** A sink that hands on the names of what it is told in batches. */
export function createBatches(
  send: (batch: WalkBatch) => void,
): WalkSink & { readonly flush: () => void } {
  let place = 0
  let files: string[] = []
  let others: WalkBatch['others'][number][] = []
  const flush = (): void => {
    send({ place: place++, files: files.join('\0'), others, claim: new SharedArrayBuffer(4) })
    files = []
    others = []
  }
  const unseen = (path: string): void => {
    if (files.push(path) === BATCH_FILES) flush()
  }
  return {
    file: unseen,
    unseen,
    link: (path) => void others.push(['link', path]),
    special: (path) => void others.push(['special', path]),
    reserved: (path) => void others.push(['reserved', path]),
    hidden: (path, kind) => void others.push([kind, path]),
    flush,
  }
}

/** Whether the batch is this thread's to look at: for one caller only. */
export const claimBatch = ({ claim }: WalkBatch): boolean =>
  Atomics.compareExchange(new Int32Array(claim), 0, 0, 1) === 0

const pathsOf = ({ files }: WalkBatch): readonly string[] => (files === '' ? [] : files.split('\0'))

export function lookAt(root: string, batch: WalkBatch): Looked {
  const paths = pathsOf(batch)
  const facts = new Uint8Array(paths.length * FACTS_BYTES)
  for (const [i, path] of paths.entries()) {
    const stat = statOf(`${root}/${path}`)
    if (stat === undefined) facts.fill(GONE, i * FACTS_BYTES, (i + 1) * FACTS_BYTES)
    else encodeFacts(stat, facts, i * FACTS_BYTES)
  }
  return { facts, digest: digestOf(batch, facts) }
}

/** Those that were there when they were looked at. */
export function eachFile(batch: WalkBatch, { facts }: Looked, onFile: WalkSink['file']): void {
  for (const [i, path] of pathsOf(batch).entries()) {
    const at = i * FACTS_BYTES
    // The mode of a file is 0 or 1.
    if (facts[at + FACTS_BYTES - 1] !== GONE) onFile(path, facts, at)
  }
}

/** The first part tells how long the others are. */
function digestOf({ files, others }: WalkBatch, facts: Uint8Array): Uint8Array {
  const hash = createHash('sha256')
  hash.update(`${JSON.stringify(others)}\n${Buffer.byteLength(files)}\n`)
  return hash.update(files).update(facts).digest()
}

export function replay(batch: WalkBatch, looked: Looked, sink: WalkSink): void {
  eachFile(batch, looked, (path, facts, at) => sink.file(path, facts, at))
  for (const [to, path] of batch.others) {
    if (to === 'link' || to === 'special' || to === 'reserved') sink[to](path)
    else sink.hidden(path, to)
  }
}
