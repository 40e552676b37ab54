import { formatBytes, formatDuration, plural, printableLine } from '../base/index.ts'
import { tightenHeaps } from '../io/index.ts'
import { type AddReport, openRepository, stageFiles } from '../repo/index.ts'
import { defineCommand, erase } from './types.ts'

const SHOWN = 10

export const command = erase(
  defineCommand({
    name: 'add',
    summary: 'Store files and stage them for the next commit',
    description:
      "Takes files, folders and quoted patterns. Unchanged files cost a look at their times, not a read. In a folder, tracked files that are gone are staged as removed. A file that cannot be read, or a path that is no file, is listed and the others are added (exit 3). Kill it when you like: what was stored is kept, and the next add goes on. Files named by .cxvignore (git's rules) are left out.",
    examples: [
      ['cxv add images Data_Entry.csv', 'a folder and a table'],
      ["cxv add 'images/**/*.png'", 'a pattern; the quotes keep your shell from reading it'],
    ],
    positionals: [
      { name: 'paths', describe: 'Files, folders or patterns', required: true, many: true },
    ],
    options: {
      force: { type: 'boolean', alias: 'f', describe: 'Also files that .cxvignore leaves out' },
    },
    async run(ctx, args): Promise<AddReport & { ms: number }> {
      const startedAt = ctx.now()
      tightenHeaps()
      await using repo = await openRepository(ctx, ctx.cwd)
      const report = await stageFiles(ctx, repo, ctx.cwd, args._['paths'] ?? [], {
        force: args.force === true,
      })
      return { ...report, ms: ctx.now() - startedAt }
    },
    exit: (report) => (report.failed.length > 0 ? 3 : 0),
    *text(report, style) {
      yield `${plural(report.staged, 'file')} staged of ${plural(report.files, 'file')} (${formatBytes(report.bytes)}) in ${formatDuration(report.ms)}; ${formatBytes(report.newBytes)} new${report.removed > 0 ? `; ${plural(report.removed, 'file')} removed` : ''}`
      if (report.skipped.length > 0) {
        yield style.yellow(`${plural(report.skipped.length, 'entry', 'entries')} left out:`)
        for (const { path, why } of report.skipped.slice(0, SHOWN))
          yield `  ${printableLine(path)}: ${SKIP_WORDS[why] ?? why}`
        if (report.skipped.length > SHOWN) yield `  and ${report.skipped.length - SHOWN} more`
      }
      if (report.failed.length > 0) {
        yield style.red(`${plural(report.failed.length, 'file')} could not be added:`)
        for (const { path, code, message } of report.failed.slice(0, SHOWN))
          yield `  ${printableLine(path)}: ${message} [${code}]`
        if (report.failed.length > SHOWN)
          yield `  and ${report.failed.length - SHOWN} more; --json lists all`
      }
    },
  }),
)

const SKIP_WORDS: Readonly<Record<string, string>> = {
  symlink: 'a symbolic link; cxv versions files, not links',
  special: 'not a regular file',
  name: 'its name cannot be tracked: not valid UTF-8, too long, or with `.git` or `.cxv` as a part; rename it',
}
