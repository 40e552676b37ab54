import { type CommitId, CxvError, formatCount, plural } from '../base/index.ts'
import { matchImages } from '../dataset/index.ts'
import {
  type AskedImage,
  findRun,
  listRuns,
  runsByCommit,
  samplesOf,
  type TraceHit,
  traceImages,
} from '../lineage/index.ts'
import { openRepository } from '../repo/index.ts'
import type { Repository } from '../repo/types.ts'
import { dataText, formatTime, runLine, type RunSummary, summarise } from './run-text.ts'
import { type CommandContext, defineCommand, erase } from './types.ts'

type Question =
  { readonly by: 'path'; readonly path: string } | { readonly by: 'where'; readonly where: string }

interface SplitFacts {
  readonly images: number
  readonly patients: number
}

type TraceResult =
  | {
      readonly kind: 'images'
      readonly question: string
      /** Images that match in the stage (what would be committed now); null when it cannot be asked. */
      readonly matching: number | null
      readonly runsLookedAt: number
      readonly hits: readonly TraceHit[]
    }
  | { readonly kind: 'commit'; readonly commit: string; readonly runs: readonly RunSummary[] }
  | {
      readonly kind: 'model'
      readonly run: RunSummary
      readonly splits: Readonly<Record<'train' | 'val' | 'test', SplitFacts>>
    }

async function traceQuestion(
  ctx: CommandContext,
  repo: Repository,
  question: Question,
): Promise<TraceResult> {
  const ask = async (version: CommitId | 'stage'): Promise<readonly AskedImage[]> =>
    question.by === 'where'
      ? matchImages(ctx, repo, version, question.where)
      : imagesUnder(repo, version, question.path)
  const report = await traceImages(ctx, repo, ask)
  if (report.asked === 0 && report.hits.length === 0 && question.by === 'path') {
    throw new CxvError(
      'PATH_NOT_FOUND',
      `no version that a run trained on holds ${question.path}`,
      {
        hint: '`cxv ls` lists what is tracked now',
      },
    )
  }
  return {
    kind: 'images',
    question: question.by === 'where' ? question.where : question.path,
    matching: report.asked ?? null,
    runsLookedAt: report.runsLookedAt,
    hits: report.hits,
  }
}

/** Rows of one file or of a folder. */
async function imagesUnder(
  repo: Repository,
  version: CommitId | 'stage',
  path: string,
): Promise<readonly AskedImage[]> {
  if (version !== 'stage') return repo.history.rowsUnder(version, path)
  const folder = path === '' ? '' : `${path}/`
  return (await repo.stagedRows()).filter((r) => r.path === path || r.path.startsWith(folder))
}

async function traceModel(
  ctx: CommandContext,
  repo: Repository,
  word: string,
): Promise<TraceResult> {
  const run = await findRun(ctx, repo, word)
  const samples = (await samplesOf(ctx, repo, run)) ?? []
  const facts = (split: string): SplitFacts => {
    const members = samples.filter((s) => s.split === split)
    return { images: members.length, patients: new Set(members.map((s) => s.group)).size }
  }
  return {
    kind: 'model',
    run: summarise(run),
    splits: { train: facts('train'), val: facts('val'), test: facts('test') },
  }
}

export const command = erase(
  defineCommand({
    name: 'trace',
    summary: 'Show which runs and models saw these images, and in which split',
    description:
      'Asks every run known here. "in train" means the weights depend on the image; "validation only" means it chose when to stop; "test only" means it was measured on. --where is asked of the version at hand and of each run\'s own data commit, so images that were removed since are found.',
    examples: [
      ['cxv trace --where \'"Patient ID" = 1280\'', 'one patient'],
      ['cxv trace --path images/00001280_004.png', 'one image'],
      ['cxv trace --commit v1.2', 'runs trained on that version'],
      ['cxv trace --model r0mfzk3a7q2x', 'what one model saw'],
    ],
    options: {
      where: {
        type: 'string',
        placeholder: 'SQL',
        describe: 'Predicate over the tables and `files`',
      },
      path: { type: 'string', placeholder: 'PATH', describe: 'A file or a folder' },
      commit: { type: 'string', placeholder: 'REV', describe: 'A branch, tag or commit' },
      model: { type: 'string', placeholder: 'MODEL', describe: 'A run id, run name or model id' },
    },
    async run(ctx, args): Promise<TraceResult> {
      const given = [args.where, args.path, args.commit, args.model].filter((a) => a !== undefined)
      if (given.length !== 1) {
        throw new CxvError('USAGE', 'give one of --where, --path, --commit and --model', {
          hint: 'cxv trace --where \'"Patient ID" = 1280\'',
        })
      }
      await using repo = await openRepository(ctx, ctx.cwd)
      if (args.model !== undefined) return await traceModel(ctx, repo, args.model)
      if (args.commit !== undefined) {
        const commit = await repo.history.resolve(args.commit)
        const runs = runsByCommit(await listRuns(ctx, repo)).get(commit) ?? []
        return { kind: 'commit', commit, runs: runs.map(summarise) }
      }
      if (args.where !== undefined) {
        return await traceQuestion(ctx, repo, { by: 'where', where: args.where })
      }
      const path = repo.toRepoPath(ctx.cwd, args.path ?? '.')
      return await traceQuestion(ctx, repo, { by: 'path', path })
    },
    *text(result, style) {
      switch (result.kind) {
        case 'commit':
          if (result.runs.length === 0)
            yield `no run known here trained on ${result.commit.slice(0, 10)}`
          for (const run of result.runs) yield runLine(run, style)
          break
        case 'model':
          yield runLine(result.run, style)
          yield `    ${dataText(result.run)}, sample list ${result.run.sampleList.slice(0, 12)}`
          for (const [split, { images, patients }] of Object.entries(result.splits)) {
            yield `    ${split.padEnd(6)}${plural(images, 'image')} of ${plural(patients, 'patient')}`
          }
          break
        case 'images': {
          yield result.matching === null
            ? `the version at hand cannot be asked: ${result.question}`
            : `${plural(result.matching, 'image')} of the version at hand match ${result.question}`
          if (result.hits.length === 0) {
            yield `none of ${plural(result.runsLookedAt, 'run')} known here saw one`
            break
          }
          for (const hit of result.hits) {
            const counts = Object.entries(hit.images)
              .filter(([, n]) => n > 0)
              .map(([split, n]) => `${formatCount(n)} in ${split}`)
            const paint = hit.images.train > 0 ? style.red : style.green
            yield `${style.bold(hit.run)} ${hit.name}  ${paint(hit.verdict)}: ${counts.join(', ')}  (${plural(hit.patients.length, 'patient')})`
            yield `    ${hit.status} ${formatTime(hit.startedAt)}, ${dataText(hit)}`
            for (const model of hit.models) yield `    model ${model.name} ${model.id.slice(0, 12)}`
            yield style.dim(
              `    ${hit.examples.slice(0, 3).join(', ')}${hit.examples.length > 3 ? ', ...' : ''}`,
            )
          }
        }
      }
    },
  }),
)
