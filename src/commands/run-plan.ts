import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import {
  type CommitId,
  type ContentId,
  CxvError,
  firstOf,
  formatCount,
  plural,
} from '../base/index.ts'
import { type PinResolution, resolvePin } from '../dataset/index.ts'
import { parseTrainConfig } from '../format/index.ts'
import type { TrainConfig } from '../format/types.ts'
import { readFileIfAny, tightenHeaps } from '../io/index.ts'
import { computeStatus, hashFile } from '../repo/index.ts'
import type { ManifestRow, Repository } from '../repo/types.ts'
import type { CommandContext } from './types.ts'

const MAX_YAML_BYTES = 1 << 20

export interface RunPlan {
  readonly config: TrainConfig
  readonly commit: CommitId
  /** What the commit was asked for as; HEAD is told by its branch. */
  readonly rev: string
  readonly snapshot: boolean
  readonly resolution: PinResolution
}

export interface DryRunPlan extends Pick<RunPlan, 'config' | 'resolution'> {
  /** Null: the changed work tree, which is in no commit. */
  readonly commit: CommitId | null
}

/** Reads train.yaml with the `--set` changes. @throws CxvError PATH_NOT_FOUND, TRAIN_CONFIG_INVALID */
export async function readTrainConfig(
  ctx: CommandContext,
  path: string,
  sets: readonly string[],
): Promise<TrainConfig> {
  const bytes = await readFileIfAny(resolve(ctx.cwd, path), MAX_YAML_BYTES)
  if (bytes === undefined) {
    throw new CxvError('PATH_NOT_FOUND', `there is no ${path} here`, {
      hint: 'docs/train-yaml.md has one to start from',
    })
  }
  return parseTrainConfig(bytes, { sets, file: path })
}

/**
 * From configuration to pin: the commit, the images, their labels and splits. A changed work tree is
 * refused when the data is HEAD's, or committed aside (no branch moves) with `allowDirty`.
 * @throws CxvError DIRTY_TREE, SPLIT_INVALID and whatever resolving a pin throws
 */
export async function planRun(
  ctx: CommandContext,
  repo: Repository,
  config: TrainConfig,
  allowDirty: boolean,
): Promise<RunPlan> {
  const head = await repo.history.resolve(config.data.rev)
  const changed = await isChanged(repo, config, allowDirty)
  const commit = changed ? await snapshotWorkTree(ctx, repo, head) : head
  if (changed) {
    ctx.emit({
      type: 'note',
      message: `data: a snapshot of the changed work tree, commit ${commit.slice(0, 10)}`,
    })
  }
  const resolution = await resolvePin(ctx, repo, config, commit)
  refuseUndefinedMonitor(config, resolution)
  const { branch } = await repo.history.head()
  const rev =
    config.data.rev === 'HEAD' && branch !== null
      ? branch.replace('refs/heads/', '')
      : config.data.rev
  return { config, commit, rev, snapshot: changed, resolution }
}

/**
 * What `planRun` would plan; no snapshot is made.
 * @returns `commit: null` for a changed work tree
 */
export async function planDryRun(
  ctx: CommandContext,
  repo: Repository,
  config: TrainConfig,
  allowDirty: boolean,
): Promise<DryRunPlan> {
  const head = await repo.history.resolve(config.data.rev)
  if (!(await isChanged(repo, config, allowDirty))) {
    const resolution = await resolvePin(ctx, repo, config, head)
    refuseUndefinedMonitor(config, resolution)
    return { config, commit: head, resolution }
  }
  const { modified, deleted } = await changesOnDisk(ctx, repo)
  const onDisk = new Map<ContentId, string>()
  const fresh = new Map<string, ManifestRow>()
  for (const { path, size } of modified) {
    ctx.signal.throwIfAborted()
    const id = hashFile(resolve(repo.root, path))
    if (id === undefined) throw stillWritten(path, 'it cannot be read')
    onDisk.set(id, path)
    // No pin depends on the executable bit.
    fresh.set(path, { path, id, size, executable: false })
  }
  const resolution = await resolvePin(ctx, readingFromDisk(repo, onDisk), config, {
    rows: await changedRows(repo, fresh, deleted),
    tables: (await repo.config()).tables,
  })
  refuseUndefinedMonitor(config, resolution)
  return { config, commit: null, resolution }
}

/** @throws CxvError DIRTY_TREE */
async function isChanged(
  repo: Repository,
  { data }: TrainConfig,
  allowDirty: boolean,
): Promise<boolean> {
  if (data.rev !== 'HEAD') return false
  const { paths, tables } = await repo.changes()
  if (paths.length === 0 && !tables) return false
  if (allowDirty) return true
  const files = paths.length === 0 ? [] : [`${plural(paths.length, 'file')}: ${firstOf(paths)}`]
  const what = [...files, ...(tables ? ['the declared tables'] : [])].join('; ')
  throw new CxvError(
    'DIRTY_TREE',
    `the work tree differs from HEAD (${what}), so the run would not say what it saw`,
    {
      hint: '`cxv add` and `cxv commit` first, or `--allow-dirty` to train on a snapshot of it as it is',
      data: { paths: paths.slice(0, 1000), count: paths.length, tables },
    },
  )
}

/** Tracked files that differ from the stage. */
async function changesOnDisk(
  ctx: CommandContext,
  repo: Repository,
): Promise<{
  readonly modified: readonly { readonly path: string; readonly size: number }[]
  readonly deleted: ReadonlySet<string>
}> {
  const { unstaged } = await computeStatus(ctx, repo)
  return {
    modified: unstaged.filter((u) => u.state === 'modified'),
    deleted: new Set(unstaged.filter((u) => u.state === 'deleted').map((u) => u.path)),
  }
}

/** @throws CxvError SPLIT_INVALID when the early stop would watch a figure that no epoch has */
function refuseUndefinedMonitor(
  { earlyStop }: TrainConfig,
  { labels, samples }: PinResolution,
): void {
  if (earlyStop.monitor !== 'val/auroc_macro') return
  const val = samples.filter(({ split }) => split === 'val')
  const has = (k: number, value: number): boolean => val.some(({ y }) => y[k] === value)
  if (labels.some((_, k) => has(k, 1) && has(k, 0))) return
  throw new CxvError(
    'SPLIT_INVALID',
    `early_stop.monitor is val/auroc_macro, and no label has both classes among the ${plural(val.length, 'validation image')}`,
    { hint: 'raise split.ratios.val, or set early_stop.monitor: val/loss' },
  )
}

/** Commits tracked files as they are on disk, stage included, as a child of HEAD that no branch names. */
async function snapshotWorkTree(
  ctx: CommandContext,
  repo: Repository,
  head: CommitId,
): Promise<CommitId> {
  return repo.withWriteLock('snapshot for a run', async () => {
    const { modified, deleted } = await changesOnDisk(ctx, repo)
    const store = await repo.store()
    const fresh = new Map<string, ManifestRow>()
    const files = modified.map(({ path }) => ({ path, absolutePath: resolve(repo.root, path) }))
    tightenHeaps()
    for await (const batch of store.addFiles(files)) {
      for (const file of batch) {
        if (file.status === 'failed') throw stillWritten(file.path, file.message)
        const { size, executable } = file.stat
        fresh.set(file.path, { path: file.path, id: file.id, size, executable })
      }
    }
    return repo.history.writeCommit({
      rows: await changedRows(repo, fresh, deleted),
      tables: (await repo.config()).tables,
      parents: [head],
      message: 'snapshot of a changed work tree, made for a run\n',
      author: await repo.identity(),
      timeMs: ctx.now(),
      zoneMinutes: new Date(ctx.now()).getTimezoneOffset(),
    })
  })
}

async function changedRows(
  repo: Repository,
  fresh: ReadonlyMap<string, ManifestRow>,
  deleted: ReadonlySet<string>,
): Promise<readonly ManifestRow[]> {
  return (await repo.stagedRows())
    .filter((row) => !deleted.has(row.path))
    .map((row) => fresh.get(row.path) ?? row)
}

const stillWritten = (path: string, why: string): CxvError =>
  new CxvError('FILE_CHANGED', `${path}: ${why}`, {
    hint: 'run again when nothing writes to the work tree',
  })

/** The repository with a store that reads these contents where they lie in the work tree. */
function readingFromDisk(repo: Repository, onDisk: ReadonlyMap<ContentId, string>): Repository {
  return {
    ...repo,
    async store() {
      const store = await repo.store()
      return {
        ...store,
        async read(id, options = {}) {
          const path = onDisk.get(id)
          if (path === undefined) return store.read(id, options)
          const bytes = await readFileIfAny(resolve(repo.root, path), options.maxBytes)
          if (bytes !== undefined && createHash('sha256').update(bytes).digest('hex') === id)
            return bytes
          throw stillWritten(path, 'it changed while it was read')
        },
      }
    },
  }
}

/** `train 440 images of 301 patients: normal 120, pneumonia 320` */
export function* describeSplits(resolution: PinResolution): Iterable<string> {
  for (const split of ['train', 'val', 'test'] as const) {
    const facts = resolution.splits[split]
    const classes = Object.entries(facts.classes).map(([label, n]) => `${label} ${formatCount(n)}`)
    if (facts.none !== undefined) classes.push(`no label ${formatCount(facts.none)}`)
    yield `${split.padEnd(6)}${plural(facts.images, 'image')} of ${plural(facts.patients, 'patient')}: ${classes.join(', ')}`
  }
}
