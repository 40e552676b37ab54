import { CxvError } from '../base/index.ts'
import { openRepository } from '../repo/index.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'table remove',
    summary: 'Take a table declaration back; the file stays tracked',
    positionals: [{ name: 'name', describe: 'The table', required: true }],
    options: {},
    async run(ctx, args) {
      await using repo = await openRepository(ctx, ctx.cwd)
      const name = args._['name']?.[0] ?? ''
      const { tables } = await repo.config()
      if (!tables.some((t) => t.name === name)) {
        throw new CxvError('TABLE_UNKNOWN', `there is no table ${name}`, {
          hint: '`cxv table list`',
        })
      }
      await repo.updateConfig((c) => ({ ...c, tables: c.tables.filter((t) => t.name !== name) }))
      return { removed: name }
    },
    *text({ removed }) {
      yield `table ${removed} is no longer declared; \`cxv commit\` records it`
    },
  }),
)
