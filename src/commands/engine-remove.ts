import { join } from 'node:path'
import { CxvError, formatBytes, nearest } from '../base/index.ts'
import { acquireLock, folderBytes, removePath, renamePath, temporaryBeside } from '../io/index.ts'
import { enginesFolder, findEngines } from './engine-find.ts'
import { defineCommand, erase } from './types.ts'

interface Result {
  readonly removed: string
  readonly folder: string
  readonly bytes: number
}

export const command = erase(
  defineCommand({
    name: 'engine remove',
    summary: 'Remove an engine that was set up',
    description:
      'Deletes the engine from your data folder. Runs that were made with it keep their records and models; `cxv engine add` sets it up again.',
    examples: [['cxv engine remove tensorflow', 'free its 1.2 GB']],
    positionals: [{ name: 'name', describe: 'as `cxv engine list` names it', required: true }],
    options: {},
    async run(ctx, args): Promise<Result> {
      const [name = ''] = args._['name'] ?? []
      const root = enginesFolder(ctx.env)
      const engines = findEngines(ctx.env)
      const names = engines.map((engine) => engine.name)
      if (!names.includes(name)) {
        const near = nearest(name, names)
        throw new CxvError('ENGINE_MISSING', `no engine "${name}" is set up for you`, {
          hint: near === undefined ? '`cxv engine list`' : `cxv engine remove ${near}`,
          data: { engines: names },
        })
      }
      const lock = await acquireLock(ctx, join(root, 'lock'), 'cxv engine remove', 10_000)
      try {
        const found = engines.filter((engine) => engine.name === name)
        let bytes = 0
        for (const { folder } of found) {
          bytes += folderBytes(folder)
          // Renamed first: a removal that is cut short leaves no half engine.
          const aside = temporaryBeside(folder)
          renamePath(folder, aside)
          removePath(aside)
        }
        return { removed: name, folder: found[0]?.folder ?? root, bytes }
      } finally {
        lock.release()
      }
    },
    *text({ removed, folder, bytes }) {
      yield `removed ${removed} (${formatBytes(bytes)} in ${folder})`
    },
  }),
)
