import { formatBytes, formatCount, plural, printable, printableLine } from '../base/index.ts'
import { listRuns } from '../lineage/index.ts'
import { checkRepository, openRepository } from '../repo/index.ts'
import { defineCommand, erase } from './types.ts'

export const command = erase(
  defineCommand({
    name: 'fsck',
    summary: 'Check that every committed byte is here and right',
    description:
      'Reads every pack and hashes every chunk (--quick compares the sizes and tables of packs with the index only, and so sees no flipped byte inside a file). Damage is named by pack, and by file and commit where a file is lost; exit 14. --repair keeps the good parts of a damaged pack and moves the rest to .cxv/bad; what is then missing comes back with `cxv pull` or by adding the file again.',
    examples: [
      ['cxv fsck', ''],
      ['cxv fsck --quick', 'in seconds; reads the bytes of no file'],
      ['cxv fsck --repair', ''],
    ],
    options: {
      quick: { type: 'boolean', describe: 'Do not hash every byte' },
      repair: { type: 'boolean', describe: 'Move damaged packs aside, keeping their good parts' },
    },
    async run(ctx, args) {
      await using repo = await openRepository(ctx, ctx.cwd)
      const pinned = (await listRuns(ctx, repo))
        .filter((run) => run.sealed === null)
        .map(({ record }) => ({ name: `run ${record.id}`, commit: record.commit }))
      return await checkRepository(ctx, repo, {
        pinned,
        deep: args.quick !== true,
        repair: args.repair === true,
      })
    },
    exit: (r) => (r.clean ? 0 : 14),
    *text(r, style) {
      const packs = plural(r.store.packsChecked, 'pack')
      yield `${plural(r.commits, 'commit')}, ${plural(r.contents, 'content')}, ${
        r.deep
          ? `${packs}, ${formatBytes(r.store.bytesChecked)} checked`
          : `tables of ${packs} compared with the index; no file's bytes were read`
      }`
      if (r.store.leftovers > 0)
        yield `${plural(r.store.leftovers, 'leftover')} of killed processes removed`
      if (r.store.indexRebuilt) yield 'the index disagreed with the packs and was rebuilt'
      if (r.notHere > 0) yield `${plural(r.notHere, 'content')} not fetched (cloned without data)`
      for (const { ref, problem } of r.history)
        yield style.red(`history: ${printable(ref)}: ${problem}`)
      for (const { file, problem, to, kept } of r.historyFiles) {
        const moved =
          to === undefined ? '' : `; moved to ${to}, ${plural(kept ?? 0, 'object')} kept`
        yield style.red(`history: .cxv/git/${file}: ${problem}${moved}`)
      }
      for (const { pack, readable } of r.store.damaged) {
        const aside = r.store.setAside.find((moved) => moved.pack === pack)
        yield style.red(
          `pack ${pack.slice(0, 12)} is damaged: ${
            aside === undefined
              ? `${plural(readable, 'frame')} of it can still be read`
              : `moved to ${aside.to}, ${plural(aside.kept, 'frame')} kept`
          }`,
        )
      }
      for (const { path, commit, reason } of r.lostFiles.slice(0, 20)) {
        yield style.red(
          `${reason}: ${printableLine(path)} (${commit === 'stage' ? 'staged' : commit.slice(0, 10)})`,
        )
      }
      if (r.lostCount > 20) yield `and ${formatCount(r.lostCount - 20)} more; --json lists them`
      if (r.clean) yield style.green(r.deep ? 'clean' : 'clean, as far as --quick looks')
      const repaired = r.store.setAside.length > 0
      const unmoved = r.historyFiles.some(({ to }) => to === undefined)
      const torn = r.store.damaged.length > 0 && !repaired
      const holes = r.history.length > 0
      const mend = [
        ...(torn || unmoved || (holes && !r.repaired) ? ['`cxv fsck --repair`'] : []),
        ...(holes ? ['`cxv fetch`, which brings all history again'] : []),
        ...(r.lostCount > 0 ? ['`cxv pull`, or `cxv add` the files named above again'] : []),
      ]
      if (mend.length > 0) yield `mend: ${mend.join(', then ')}`
      else if (repaired || r.historyFiles.length > 0)
        yield 'nothing was lost: what could be read is in new packs'
    },
  }),
)
