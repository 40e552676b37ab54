import { resolve } from 'node:path'
import { type CommitId, CxvError, formatCount, plural } from '../base/index.ts'
import { type PinResolution, resolvePin } from '../dataset/index.ts'
import { parseTrainConfig } from '../format/index.ts'
import type { TrainConfig } from '../format/types.ts'
import { readFileIfAny } from '../io/index.ts'
import { computeStatus } from '../repo/index.ts'
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
 * @throws CxvError DIRTY_TREE and whatever resolving a pin throws
 */
export async function planRun(
  ctx: CommandContext,
  repo: Repository,
  config: TrainConfig,
  allowDirty: boolean,
): Promise<RunPlan> {
  const head = await repo.history.resolve(config.data.rev)
  let commit = head
  if (config.data.rev === 'HEAD' && (await repo.isDirty())) {
    if (!allowDirty) {
      throw new CxvError(
        'DIRTY_TREE',
        'the work tree differs from HEAD, so the run would not say what it saw',
        {
          hint: '`cxv add` and `cxv commit` first, or `--allow-dirty` to train on a snapshot of it as it is',
        },
      )
    }
    commit = await snapshotWorkTree(ctx, repo, head)
    ctx.emit({
      type: 'note',
      message: `data: a snapshot of the changed work tree, commit ${commit.slice(0, 10)}`,
    })
  }
  const resolution = await resolvePin(ctx, repo, config, commit)
  const { branch } = await repo.history.head()
  const rev =
    config.data.rev === 'HEAD' && branch !== null
      ? branch.replace('refs/heads/', '')
      : config.data.rev
  return { config, commit, rev, snapshot: commit !== head, resolution }
}

/** Commits tracked files as they are on disk, stage included, as a child of HEAD that no branch names. */
async function snapshotWorkTree(
  ctx: CommandContext,
  repo: Repository,
  head: CommitId,
): Promise<CommitId> {
  return repo.withWriteLock('snapshot for a run', async () => {
    const status = await computeStatus(ctx, repo)
    const modified = status.unstaged.filter((u) => u.state === 'modified')
    const deleted = new Set(status.unstaged.filter((u) => u.state === 'deleted').map((u) => u.path))
    const store = await repo.store()
    const fresh = new Map<string, ManifestRow>()
    const files = modified.map((u) => ({ path: u.path, absolutePath: resolve(repo.root, u.path) }))
    for await (const batch of store.addFiles(files)) {
      for (const file of batch) {
        if (file.status === 'failed') {
          throw new CxvError('FILE_CHANGED', `${file.path}: ${file.message}`, {
            hint: 'run again when nothing writes to the work tree',
          })
        }
        const { size, executable } = file.stat
        fresh.set(file.path, { path: file.path, id: file.id, size, executable })
      }
    }
    const rows = (await repo.stagedRows())
      .filter((row) => !deleted.has(row.path))
      .map((row) => fresh.get(row.path) ?? row)
    return repo.history.writeCommit({
      rows,
      tables: (await repo.config()).tables,
      parents: [head],
      message: 'snapshot of a changed work tree, made for a run\n',
      author: await repo.identity(),
      timeMs: ctx.now(),
      zoneMinutes: -new Date(ctx.now()).getTimezoneOffset(),
    })
  })
}

/** `train 440 images of 301 patients: normal 120, pneumonia 320` */
export function* describeSplits(resolution: PinResolution): Iterable<string> {
  for (const split of ['train', 'val', 'test'] as const) {
    const facts = resolution.splits[split]
    const classes = Object.entries(facts.classes).map(([label, n]) => `${label} ${formatCount(n)}`)
    yield `${split.padEnd(6)}${plural(facts.images, 'image')} of ${plural(facts.patients, 'patient')}: ${classes.join(', ')}`
  }
}
