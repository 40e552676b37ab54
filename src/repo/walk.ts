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

/** What a walk on another thread met. Lists of paths are joined by NUL. */
export interface WalkBatch {
  readonly files: string
  /** `FACTS_BYTES` for each file. */
  readonly facts: Uint8Array<ArrayBuffer>
  readonly others: readonly (readonly [
    to: 'link' | 'special' | 'reserved' | FolderMember['kind'],
    path: string,
  ])[]
  /** SHA-256 of the three: the same walk of the same tree makes the same batches. */
  readonly digest: Uint8Array
}

/** Small enough that paths are sent on before the collector has moved them twice. */
const BATCH_FILES = 1_024

/** A sink that hands on what it is told in batches. */
export function createBatches(
  send: (batch: WalkBatch) => void,
): WalkSink & { readonly flush: () => void } {
  let files: string[] = []
  let facts = new Uint8Array(BATCH_FILES * FACTS_BYTES)
  let others: WalkBatch['others'][number][] = []
  const flush = (): void => {
    const batch = {
      files: files.join('\0'),
      facts: facts.slice(0, files.length * FACTS_BYTES),
      others,
    }
    send({ ...batch, digest: digestOf(batch) })
    files = []
    others = []
    facts = new Uint8Array(BATCH_FILES * FACTS_BYTES)
  }
  return {
    file(path, from, at) {
      facts.set(from.subarray(at, at + FACTS_BYTES), files.length * FACTS_BYTES)
      if (files.push(path) === BATCH_FILES) flush()
    },
    link: (path) => void others.push(['link', path]),
    special: (path) => void others.push(['special', path]),
    reserved: (path) => void others.push(['reserved', path]),
    hidden: (path, kind) => void others.push([kind, path]),
    flush,
  }
}

/** The first part tells how long the others are. */
function digestOf({ files, facts, others }: Omit<WalkBatch, 'digest'>): Uint8Array {
  const hash = createHash('sha256')
  hash.update(`${JSON.stringify(others)}\n${Buffer.byteLength(files)}\n`)
  return hash.update(files).update(facts).digest()
}

export function replay({ files, facts, others }: WalkBatch, sink: WalkSink): void {
  if (files !== '') {
    files.split('\0').forEach((path, i) => sink.file(path, facts, i * FACTS_BYTES))
  }
  for (const [to, path] of others) {
    if (to === 'link' || to === 'special' || to === 'reserved') sink[to](path)
    else sink.hidden(path, to)
  }
}
