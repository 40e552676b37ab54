import { join } from 'node:path'
import {
  type CommitId,
  type Context,
  counting,
  CxvError,
  isCxvError,
  isRunId,
  type RunId,
} from '../base/index.ts'
import {
  decodeRunRecord,
  encodeRunContents,
  encodeRunRecord,
  type RunContent,
  type RunRecord,
} from '../format/index.ts'
import { readFileIfAny } from '../io/index.ts'
import type { Repository } from '../repo/types.ts'
import { type LiveRun, readLiveRuns, runsFolder } from './live-run.ts'

/** Small files of a run folder that go into its commit; larger things are contents of the store. */
const SEALED_FILES = ['metrics.jsonl', 'train.yaml', 'samples.tsv', 'roc.svg', 'loss.svg'] as const
const MAX_SEALED_BYTES = 256 << 20

export interface KnownRun {
  readonly record: RunRecord
  /** The run's own commit under refs/runs/, once it is sealed. */
  readonly sealed: CommitId | null
  /** Of a run on a snapshot: the commit it was taken from. Null for others, and while that is not here. */
  readonly takenFrom: CommitId | null
  /** Its folder on this machine, if it ran here. */
  readonly folder: string | null
}

/**
 * Writes the run as a git commit under refs/runs/<id>, child of its data commit, so that it travels
 * and `git log --graph --all` shows it. A resumed run replaces its earlier commit.
 * @throws CxvError REF_MOVED when another process seals the same run
 */
export async function sealRun(
  ctx: Context,
  repo: Repository,
  live: LiveRun,
  contents: readonly RunContent[],
): Promise<CommitId> {
  const record = live.record()
  const files = new Map<string, Uint8Array>([
    ['run.json', encodeRunRecord(record)],
    ['contents.json', encodeRunContents(contents)],
  ])
  for (const name of SEALED_FILES) {
    const bytes = await readFileIfAny(join(live.folder, name), MAX_SEALED_BYTES)
    if (bytes !== undefined) files.set(name, bytes)
  }
  const ref = `refs/runs/${record.id}`
  return repo.withWriteLock(`seal run ${record.id}`, async () => {
    const before = await repo.history.ref(ref)
    const commit = await repo.history.writeRecordCommit({
      files,
      parents: [record.commit],
      message: `run ${record.id}: ${record.name}, ${record.status}\n\n${record.reason}\n`,
      author: await repo.identity(),
      timeMs: ctx.now(),
      zoneMinutes: new Date(ctx.now()).getTimezoneOffset(),
    })
    await repo.history.casRef(ref, before, commit, `run: ${record.status}`)
    return commit
  })
}

const misnamed = (ref: string, id: string): CxvError =>
  new CxvError('FORMAT_INVALID', `refs/runs/${ref} holds the record of run ${id}`, {
    hint: 'ask whoever pushed it; `cxv fsck` checks the rest',
  })

/** Every run known here, sealed or live, oldest first. */
export async function listRuns(ctx: Context, repo: Repository): Promise<readonly KnownRun[]> {
  const known = new Map<RunId, KnownRun>()
  const refs = await repo.history.refs('refs/runs/')
  for await (const { name, id } of counting(ctx, 'reading runs', 'runs', refs, refs.length)) {
    const word = name.slice('refs/runs/'.length)
    if (!isRunId(word)) continue
    try {
      const record = await readSealed(repo, id)
      // A ref from elsewhere may say of itself that it is another run.
      if (record.id !== word) throw misnamed(word, record.id)
      known.set(record.id, { record, sealed: id, takenFrom: null, folder: null })
    } catch (error) {
      if (!isCxvError(error)) throw error
      ctx.emit({ type: 'warn', code: error.code, message: `run ${word}: ${error.message}` })
    }
  }
  for (const record of await readLiveRuns(ctx, repo.folder)) {
    const folder = join(runsFolder(repo.folder), record.id)
    const sealed = known.get(record.id)
    // A resumed run is ahead of its sealed commit until it ends again.
    const current = sealed !== undefined && record.status !== 'running' ? sealed.record : record
    known.set(record.id, {
      record: current,
      sealed: sealed?.sealed ?? null,
      takenFrom: null,
      folder,
    })
  }
  const runs: KnownRun[] = []
  for (const run of known.values())
    runs.push({ ...run, takenFrom: await sourceOf(repo, run.record) })
  return runs.sort((a, b) => a.record.startedAt - b.record.startedAt)
}

/** A snapshot has one parent: HEAD as it was. */
async function sourceOf(
  repo: Repository,
  { snapshot, commit }: RunRecord,
): Promise<CommitId | null> {
  if (!snapshot || !(await repo.history.has(commit))) return null
  try {
    return (await repo.history.facts(commit)).parents[0] ?? null
  } catch (error) {
    if (!isCxvError(error)) throw error
    return null
  }
}

async function readSealed(repo: Repository, commit: CommitId): Promise<RunRecord> {
  const bytes = await repo.history.readFile(commit, 'run.json')
  if (bytes === undefined) throw new CxvError('FORMAT_INVALID', 'its commit has no run.json')
  return decodeRunRecord(bytes)
}

/**
 * The run meant by an id, the start of one (at least 4 characters), a name, or a model's content id (at
 * least 8 characters). Of several none is chosen: which data made a model must not be a guess.
 * @throws CxvError RUN_UNKNOWN, REV_AMBIGUOUS
 */
export async function findRun(ctx: Context, repo: Repository, word: string): Promise<KnownRun> {
  const runs = await listRuns(ctx, repo)
  const exact = runs.find((r) => r.record.id === word)
  if (exact !== undefined) return exact
  const found = runs.filter(
    ({ record: { id, name, models } }) =>
      name === word ||
      (word.length >= 4 && id.startsWith(word)) ||
      (word.length >= 8 && models.some((model) => model.id.startsWith(word))),
  )
  if (found.length > 1) {
    const ids = found.map((r) => r.record.id)
    throw new CxvError('REV_AMBIGUOUS', `"${word}" may mean any of ${found.length} runs`, {
      hint: `give the id of one (\`cxv runs\` shows them): ${ids.slice(-10).join(', ')}${ids.length > 10 ? ', ...' : ''}`,
      data: { candidates: ids },
    })
  }
  const run = found[0]
  if (run === undefined) {
    throw new CxvError('RUN_UNKNOWN', `there is no run or model "${word}" here`, {
      hint: '`cxv runs` lists them; `cxv fetch` brings those of the remote',
    })
  }
  return run
}

/** A file of the run (`samples.tsv`, `metrics.jsonl`) from its commit or, unsealed, from its folder. */
export async function readRunFile(
  repo: Repository,
  run: KnownRun,
  name: string,
): Promise<Uint8Array | undefined> {
  if (run.sealed !== null) {
    const bytes = await repo.history.readFile(run.sealed, name, MAX_SEALED_BYTES)
    if (bytes !== undefined) return bytes
  }
  if (run.folder === null) return undefined
  return readFileIfAny(join(run.folder, name), MAX_SEALED_BYTES)
}

/** Runs by the commit they trained on; those on a snapshot also by the one it was taken from. */
export function runsByCommit(
  runs: readonly KnownRun[],
): ReadonlyMap<CommitId, readonly KnownRun[]> {
  const map = new Map<CommitId, KnownRun[]>()
  for (const run of runs) {
    for (const commit of [run.record.commit, run.takenFrom]) {
      if (commit !== null) map.set(commit, [...(map.get(commit) ?? []), run])
    }
  }
  return map
}
