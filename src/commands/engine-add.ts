import { CxvError, formatBytes, formatDuration, nearest } from '../base/index.ts'
import type { EngineCheck } from './engine-check.ts'
import type { EngineRecord } from './engine-find.ts'
import { setUpTensorflow } from './engine-setup.ts'
import { defineCommand, erase } from './types.ts'

const NAMES = ['tensorflow']

interface Result {
  readonly name: string
  readonly version: string
  readonly folder: string
  readonly module: string
  readonly alreadyThere: boolean
  readonly record: EngineRecord
  readonly check: EngineCheck
  readonly seconds: number
}

export const command = erase(
  defineCommand({
    name: 'engine add',
    summary: 'Set up a faster training engine for this user',
    description: [
      'Sets TensorFlow up in your own data folder, outside any repository, and checks that it trains. `cxv run` finds it there by itself. Without it, training uses the wasm engine, which needs no set-up and is several times slower.',
      'First the stock package @tensorflow/tfjs-node is tried, if the host it downloads from can be reached. Otherwise TensorFlow 2.20.0 is taken from PyPI through pip, its libraries are laid under the package, and the small binding between them is compiled here. That takes about a minute and 1.2 GB of disk; it needs npm, python3 with pip, g++, make and the headers of Node. What is missing is named, with the command that mends it, before anything is downloaded.',
      'With --cuda the libraries compute on an NVIDIA GPU (CUDA 12, cuDNN 9; only the driver must be there, 525 or newer). Without a driver it stops before the download of 3.4 GB.',
      'Ctrl-C is safe at any time: an engine appears only once it has trained. Run the command again to go on.',
    ].join('\n\n'),
    examples: [
      ['cxv engine add tensorflow', 'TensorFlow on this CPU'],
      ['cxv engine add tensorflow --cuda', 'TensorFlow on an NVIDIA GPU'],
    ],
    positionals: [{ name: 'name', describe: 'the engine: tensorflow', required: true }],
    options: {
      cuda: { type: 'boolean', describe: 'compute on an NVIDIA GPU' },
      force: {
        type: 'boolean',
        describe: 'set up again what is there; with --cuda, also without a driver',
      },
      from: {
        type: 'string',
        describe: 'where TensorFlow is taken from (auto)',
        choices: ['auto', 'npm', 'wheel'],
      },
    },
    async run(ctx, args): Promise<Result> {
      const [wanted = ''] = args._['name'] ?? []
      if (!NAMES.includes(wanted)) {
        const near = nearest(wanted, NAMES)
        throw new CxvError('USAGE', `there is no engine "${wanted}" to set up`, {
          hint:
            wanted === 'wasm' || wanted === 'cpu'
              ? `${wanted} needs no set-up`
              : `cxv engine add ${near ?? 'tensorflow'}`,
        })
      }
      const started = ctx.now()
      const { engine, record, check, alreadyThere } = await setUpTensorflow(ctx, {
        env: ctx.env,
        cuda: args.cuda === true,
        force: args.force === true,
        from: args.from === 'npm' || args.from === 'wheel' ? args.from : 'auto',
      })
      const { name, version, folder, module } = engine
      const seconds = (ctx.now() - started) / 1000
      return { name, version, folder, module, alreadyThere, record, check, seconds }
    },
    *text({ name, version, folder, alreadyThere, record, check, seconds }, style) {
      const where = check.device === 'gpu' ? 'the GPU' : 'the CPU'
      yield `${style.green('ok')} ${name} ${version} ${alreadyThere ? 'is there already and' : ''} trains on ${where}: loss ${check.firstLoss.toFixed(2)} to ${check.lastLoss.toFixed(2)} in 20 steps`.replaceAll(
        '  ',
        ' ',
      )
      yield `   ${folder} (${formatBytes(record.bytes)}, ${formatDuration(seconds * 1000)})`
      if (record.cuda && check.device === 'cpu') {
        yield style.yellow('   no GPU was found: it computes on the CPU until a driver is there')
      }
      yield style.dim(
        '   `cxv run` uses it from now on; `engine: wasm` in train.yaml keeps to wasm',
      )
    },
  }),
)
