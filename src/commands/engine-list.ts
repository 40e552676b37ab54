import { formatBytes } from '../base/index.ts'
import { enginesFolder, findEngines, readEngineRecord } from './engine-find.ts'
import { driverPart, gpuFacts } from './engine-parts.ts'
import { defineCommand, erase } from './types.ts'

interface Row {
  readonly name: string
  readonly version: string
  readonly folder: string | null
  readonly cuda: boolean
  readonly recipe: 'built-in' | 'npm' | 'wheel'
  readonly bytes: number
  readonly what: string
}

export const command = erase(
  defineCommand({
    name: 'engine list',
    summary: 'List the training engines of this machine, best first',
    description:
      'Lists what can train here. `engine: auto` in train.yaml takes the first. wasm and cpu come with cxv; tensorflow is set up by `cxv engine add`.',
    options: {},
    run(ctx): Promise<{ readonly root: string; readonly engines: readonly Row[] }> {
      const gpu = driverPart(gpuFacts(ctx.env)).ok
      const added = findEngines(ctx.env).map(({ name, version, folder, cuda }): Row => {
        const record = readEngineRecord(folder)
        return {
          name,
          version,
          folder,
          cuda,
          recipe: record?.recipe ?? 'wheel',
          bytes: record?.bytes ?? 0,
          what: !cuda
            ? 'TensorFlow on the CPU'
            : gpu
              ? 'TensorFlow on an NVIDIA GPU'
              : 'TensorFlow with CUDA, on the CPU here: there is no NVIDIA driver',
        }
      })
      const builtIn = (name: string, what: string): Row => ({
        name,
        version: '',
        folder: null,
        cuda: false,
        recipe: 'built-in',
        bytes: 0,
        what,
      })
      return Promise.resolve({
        root: enginesFolder(ctx.env),
        engines: [
          ...added,
          builtIn('wasm', 'runs wherever Node runs'),
          builtIn('cpu', 'plain JavaScript, for checking gradients only'),
        ],
      })
    },
    *text({ engines }, style) {
      for (const { name, version, what, folder, bytes } of engines) {
        const title = `${name} ${version}`.trim()
        yield `${style.bold(title.padEnd(24))} ${what}${folder === null ? '' : style.dim(`  ${folder} (${formatBytes(bytes)})`)}`
      }
      if (engines.every(({ folder }) => folder === null)) {
        yield style.dim(
          '`cxv engine add tensorflow` sets up an engine that is several times faster',
        )
      }
    },
  }),
)
