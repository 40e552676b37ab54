import {
  canonicalJson,
  CxvError,
  formatCount,
  formatDuration,
  isRecord,
  type Json,
  plural,
  utf8,
} from '../base/index.ts'
import { describeAugmentation } from '../dataset/index.ts'
import {
  decodeSampleList,
  encodeTrainConfig,
  parseTrainConfig,
  type RunRecord,
} from '../format/index.ts'
import type { TrainConfig } from '../format/types.ts'
import { findRun, type LiveRun, newRunId, openLiveRun } from '../lineage/index.ts'
import { openRepository } from '../repo/index.ts'
import type { Repository } from '../repo/types.ts'
import { chooseEngine, engineFacts, warnOfOtherEngine } from './run-engine.ts'
import { type Execution, executeRun, type RunOutcome } from './run-execute.ts'
import { codeFacts, hardwareJson, versionFacts } from './run-facts.ts'
import {
  describeSplits,
  type DryRunPlan,
  planDryRun,
  planRun,
  readTrainConfig,
  type RunPlan,
} from './run-plan.ts'
import { intervalText } from './show-run.ts'
import { type CommandContext, defineCommand, erase } from './types.ts'

interface DryRun {
  readonly dryRun: true
  /** Null: the changed work tree (`--allow-dirty`). */
  readonly commit: string | null
  readonly sampleList: string
  readonly splits: RunPlan['resolution']['splits']
  readonly lines: readonly string[]
  readonly notes: readonly string[]
  readonly config: string
}

type RunResult = DryRun | (RunOutcome & { readonly dryRun: false })

const DEFAULT_FILE = 'train.yaml'

export const command = erase(
  defineCommand({
    name: 'run',
    summary: 'Train on a version of the data, and record what made the model',
    description:
      'Reads train.yaml (docs/train-yaml.md lists every key), resolves it to an exact list of images, trains straight from the store, evaluates on the test split, and seals a record that travels with push and pull. Ctrl-C keeps the last checkpoint.',
    examples: [
      [
        'cxv run train.yaml --dry-run',
        'what it would train on: classes and patients of each split',
      ],
      ['cxv run train.yaml', ''],
      ['cxv run train.yaml --set train.epochs=3 --engine wasm', 'change values for this run'],
      ['cxv run --resume r0mfzk3a7q2x', 'go on with an interrupted run, bit for bit'],
    ],
    positionals: [{ name: 'file', describe: `Configuration (default: ${DEFAULT_FILE})` }],
    options: {
      set: {
        type: 'strings',
        placeholder: 'KEY=VALUE',
        describe: 'Lay a value over the file: train.epochs=3',
      },
      'dry-run': {
        type: 'boolean',
        describe: 'Print the resolved configuration and the splits; train and commit nothing',
      },
      engine: {
        type: 'string',
        choices: ['auto', 'tensorflow', 'wasm', 'cpu'],
        describe: 'Where the arithmetic runs',
      },
      name: { type: 'string', placeholder: 'NAME', describe: "The run's name" },
      resume: {
        type: 'string',
        placeholder: 'RUN',
        describe: 'Go on with this run from its last checkpoint',
      },
      'allow-dirty': { type: 'boolean', describe: 'Train on a snapshot of a changed work tree' },
    },
    async run(ctx, args): Promise<RunResult> {
      await using repo = await openRepository(ctx, ctx.cwd)
      const sets = [
        ...(args.set ?? []),
        ...(args.engine === undefined ? [] : [`engine=${args.engine}`]),
        ...(args.name === undefined ? [] : [`name=${JSON.stringify(args.name)}`]),
      ]
      const file = args._['file']?.[0]
      if (args.resume !== undefined) {
        refuseBeside(args)
        return await resumeRun(ctx, repo, args.resume, { file, sets })
      }
      const config = await readTrainConfig(ctx, file ?? DEFAULT_FILE, sets)
      const allowDirty = args['allow-dirty'] === true
      const warn = ({ notes }: RunPlan['resolution']): void => {
        for (const message of notes) ctx.emit({ type: 'warn', code: 'LABEL_POLICY', message })
      }
      if (args['dry-run'] === true) {
        const dry = await planDryRun(ctx, repo, config, allowDirty)
        warn(dry.resolution)
        return dryRun(dry)
      }
      const plan = await planRun(ctx, repo, config, allowDirty)
      warn(plan.resolution)
      for (const line of describeSplits(plan.resolution)) ctx.emit({ type: 'note', message: line })
      return { dryRun: false, ...(await startRun(ctx, repo, plan)) }
    },
    *text(result, style) {
      if (result.dryRun) {
        yield result.config.trimEnd()
        yield ''
        yield `data ${result.commit?.slice(0, 10) ?? 'as in the changed work tree'}, sample list ${result.sampleList.slice(0, 12)}`
        yield* result.lines
        return
      }
      const { test } = result.metrics
      yield `run ${style.bold(result.run)} ${result.name} finished in ${formatDuration(result.seconds * 1000)}: ${result.stopped}`
      yield `  ${formatCount(Math.round(result.imagesPerSecond))} images/s on ${result.engine.version}`
      yield `  test split: ${plural(test.samples, 'image')} of ${plural(test.groups, 'patient')}; 95 % intervals over patients`
      for (const l of test.labels) {
        const figure = l.auroc === null ? 'not defined (one class only)' : l.auroc.toFixed(3)
        const accuracy =
          l.accuracy === null
            ? ''
            : `; accuracy ${l.accuracy.toFixed(3)}, always-majority ${(l.naive.accuracy ?? 0).toFixed(3)}`
        yield `    ${l.label}: AUROC ${figure}${intervalText(l.aurocInterval)}, majority model 0.500${accuracy}`
      }
      if (test.labels.length > 1 && test.aurocMacro !== null) {
        yield `    mean over labels: AUROC ${test.aurocMacro.toFixed(3)}${intervalText(test.aurocMacroInterval)}`
      }
      yield `  model ${result.model.slice(0, 12)}  data ${result.commit.slice(0, 10)}`
      yield `  ROC ${result.rocPicture}`
      yield style.dim('  `cxv push` takes the run along; `cxv log` shows it under its data')
    },
  }),
)

/** @throws CxvError USAGE */
function refuseBeside(args: Readonly<Record<string, unknown>>): void {
  const beside = ['dry-run', 'allow-dirty'].find((name) => args[name] === true)
  if (beside === undefined) return
  throw new CxvError('USAGE', `--${beside} says nothing about a run that goes on`, {
    hint: 'leave --resume or the other option out',
  })
}

function dryRun({ config, commit, resolution }: DryRunPlan): DryRun {
  return {
    dryRun: true,
    commit,
    sampleList: resolution.sampleListId,
    splits: resolution.splits,
    lines: [...describeSplits(resolution)],
    notes: resolution.notes,
    config: encodeTrainConfig(config),
  }
}

async function startRun(ctx: CommandContext, repo: Repository, plan: RunPlan): Promise<RunOutcome> {
  const { config, commit, resolution } = plan
  await refuseMissing(repo, resolution.samples)
  const chosen = await chooseEngine(ctx, config.engine)
  const { engine } = chosen
  const code = await codeFacts(repo.root)
  const patch = code?.patch ?? null
  if (code?.patchLost !== undefined) {
    ctx.emit({
      type: 'warn',
      code: 'DIRTY_TREE',
      message: `the uncommitted changes to the code are not kept: ${code.patchLost}`,
      hint: 'commit them with git: the run record then names all of the code',
    })
  }
  const augmentation = describeAugmentation({
    ...config,
    samples: resolution.samples,
    labels: resolution.labels,
  })
  const record: RunRecord = {
    format: 1,
    id: newRunId(ctx),
    name: config.name,
    status: 'running',
    startedAt: ctx.now(),
    endedAt: null,
    commit,
    rev: plan.rev,
    snapshot: plan.snapshot,
    sampleList: resolution.sampleListId,
    pin: {
      ...(resolution.pin as Readonly<Record<string, Json>>),
      augmentation: augmentation as Json,
    },
    config: JSON.parse(JSON.stringify(config)) as Json,
    seed: config.seed,
    engine: engineFacts(chosen),
    code:
      code === null
        ? null
        : {
            commit: code.commit,
            dirty: code.dirty,
            patch: patch === null ? null : await (await repo.store()).put(patch),
          },
    versions: versionFacts(),
    hardware: hardwareJson(),
    argv: process.argv.slice(2),
    metrics: null,
    models: [],
    resumes: [],
    reason: 'running',
  }
  const live = openLiveRun(ctx, repo.folder, record, {
    'samples.tsv': resolution.sampleList,
    'train.yaml': utf8(encodeTrainConfig(config)),
    ...(patch === null ? {} : { 'code.patch': patch }),
  })
  ctx.emit({ type: 'note', message: `run ${record.id}: ${live.folder}` })
  const execution = {
    config,
    labels: resolution.labels,
    samples: resolution.samples,
    engine,
    resume: false,
  }
  return executeRun(ctx, repo, live, execution)
}

/** @throws CxvError CHUNK_MISSING with the command that brings them */
async function refuseMissing(repo: Repository, samples: Execution['samples']): Promise<void> {
  const absent = await (await repo.store()).missing([...new Set(samples.map((s) => s.id))])
  if (absent.size === 0) return
  const example = samples.find((s) => absent.has(s.id))?.path ?? ''
  throw new CxvError(
    'CHUNK_MISSING',
    `${plural(absent.size, 'image')} of the cohort are not here, ${example} for one`,
    {
      hint: '`cxv pull` brings them',
      data: { missing: absent.size },
    },
  )
}

/** What the command line says a resumed run should be. */
interface Asked {
  readonly file: string | undefined
  readonly sets: readonly string[]
}

/** @throws CxvError RUN_UNKNOWN, RUN_ACTIVE, RUN_MISMATCH */
async function resumeRun(
  ctx: CommandContext,
  repo: Repository,
  word: string,
  asked: Asked,
): Promise<RunResult> {
  const known = await findRun(ctx, repo, word)
  const { record } = known
  if (known.folder === null) {
    throw new CxvError(
      'RUN_UNKNOWN',
      `run ${record.id} was not made here, so its checkpoints are elsewhere`,
      {
        hint: `resume it on ${hostOf(record)}, or start a new one`,
      },
    )
  }
  if (record.status === 'running') {
    throw new CxvError('RUN_ACTIVE', `run ${record.id} is still going on`, {
      hint: '`cxv runs` shows when it ends',
    })
  }
  // Finished and not sealed is a run that lost its end: its last checkpoint gives it again.
  if (record.status === 'finished' && known.sealed !== null) {
    throw new CxvError('RUN_MISMATCH', `run ${record.id} is finished`, {
      hint: 'start a new one with `cxv run`',
    })
  }
  const live: LiveRun = openLiveRun(ctx, repo.folder, {
    ...record,
    status: 'running',
    endedAt: null,
    reason: 'running',
  })
  try {
    const config = await storedConfig(ctx, live, asked)
    const list = await live.read('samples.tsv')
    if (list === undefined) {
      throw new CxvError('RUN_MISMATCH', `run ${record.id} lost its sample list`, {
        hint: 'start a new run',
      })
    }
    const samples = decodeSampleList(list, record.sampleList)
    await refuseMissing(repo, samples)
    const began = record.engine
    const chosen = await chooseEngine(ctx, began.name as TrainConfig['engine'], began.threads)
    const { engine } = chosen
    const other = warnOfOtherEngine(ctx, began, engineFacts(chosen))
    live.update({
      resumes: [
        ...record.resumes,
        {
          at: ctx.now(),
          epoch: lastEpoch(await live.read('metrics.jsonl')),
          ...(other === undefined ? {} : { engine: other }),
        },
      ],
    })
    const labels = labelsOf(record)
    return {
      dryRun: false,
      ...(await executeRun(ctx, repo, live, { config, labels, samples, engine, resume: true })),
    }
  } catch (error) {
    if (live.record().status === 'running') {
      live.update({ status: record.status, endedAt: record.endedAt, reason: record.reason })
    }
    throw error
  } finally {
    live.close()
  }
}

/** The configuration the run began with. @throws CxvError RUN_MISMATCH when another one is asked for */
async function storedConfig(
  ctx: CommandContext,
  live: LiveRun,
  { file, sets }: Asked,
): Promise<TrainConfig> {
  const bytes = await live.read('train.yaml')
  if (bytes === undefined)
    throw new CxvError('RUN_MISMATCH', `run ${live.id} lost its train.yaml`, {
      hint: 'start a new run',
    })
  const config = await parseTrainConfig(bytes, { sets: [] })
  const wanted =
    file === undefined
      ? await parseTrainConfig(bytes, { sets, file: `train.yaml of run ${live.id}` })
      : await readTrainConfig(ctx, file, sets)
  const differing = differences(config, wanted).filter(
    // `auto` chose an engine: to ask for that one changes nothing.
    ({ key }) => key !== 'engine' || wanted.engine !== live.record().engine.name,
  )
  if (differing.length > 0) {
    const told = differing.slice(0, 5).map(({ key, kept, asked }) => `${key} ${kept}, not ${asked}`)
    throw new CxvError(
      'RUN_MISMATCH',
      `run ${live.id} was configured otherwise: ${told.join('; ')}`,
      {
        hint: `\`cxv run --resume ${live.id}\` alone goes on with what it had; a changed configuration is a new run`,
        data: { differing: differing.map(({ key }) => key) },
      },
    )
  }
  return config
}

interface Difference {
  /** As in train.yaml: `augment.ops`. */
  readonly key: string
  readonly kept: string
  readonly asked: string
}

/** Every key, of either, whose value is not the same in both; lists are values. */
function differences(kept: unknown, asked: unknown, path = ''): readonly Difference[] {
  if (isRecord(kept) && isRecord(asked)) {
    return [...new Set([...Object.keys(kept), ...Object.keys(asked)])].flatMap((key) =>
      differences(kept[key], asked[key], path === '' ? key : `${path}.${key}`),
    )
  }
  const [one, other] = [kept, asked].map((value) => canonicalJson(value ?? null)) as [
    string,
    string,
  ]
  if (one === other) return []
  const key = path.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  return [{ key, kept: one, asked: other }]
}

const hostOf = ({ hardware }: RunRecord): string => {
  const host = isRecord(hardware) ? hardware['host'] : undefined
  return typeof host === 'string' ? host : 'the machine that made it'
}

function labelsOf({ pin }: RunRecord): readonly string[] {
  const labels: unknown = isRecord(pin) ? pin['labels'] : undefined
  return Array.isArray(labels) ? labels.map(String) : []
}

/** Epoch of the last whole line of metrics.jsonl; 0 when there is none. */
function lastEpoch(log: Uint8Array | undefined): number {
  const last =
    new TextDecoder()
      .decode(log ?? new Uint8Array())
      .trimEnd()
      .split('\n')
      .at(-1) ?? ''
  return Number(/"epoch":(\d+)/.exec(last)?.[1] ?? 0)
}
