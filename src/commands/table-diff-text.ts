import { formatCount, plural, printable } from '../base/index.ts'
import type { TableDiff } from '../table/index.ts'
import type { TextStyle } from './types.ts'

const EXAMPLES = 2

/** Rows, cells and class counts that differ, table by table. */
export function* tableDiffLines(tables: readonly TableDiff[], style: TextStyle): Iterable<string> {
  for (const t of tables) {
    yield ''
    yield `table ${style.bold(t.table)} ${t.change}: ${plural(t.rowsAdded, 'row')} added, ${formatCount(t.rowsRemoved)} removed, ${formatCount(t.rowsChanged)} changed; ${formatCount(t.rowsBefore)} -> ${formatCount(t.rowsAfter)}`
    if (t.columnsAdded.length > 0)
      yield style.green(`  columns added: ${t.columnsAdded.map(printable).join(', ')}`)
    if (t.columnsRemoved.length > 0)
      yield style.red(`  columns removed: ${t.columnsRemoved.map(printable).join(', ')}`)
    for (const { column, cells, examples } of t.cells) {
      const shown = examples
        .slice(0, EXAMPLES)
        .map(
          (e) =>
            `${printable(e.key)}: ${printable(e.before ?? 'empty')} -> ${printable(e.after ?? 'empty')}`,
        )
      yield `  "${printable(column)}": ${plural(cells, 'cell')} changed (${shown.join('; ')})`
    }
    for (const { column, label, before, after } of t.classes) {
      const sign = after > before ? '+' : ''
      yield `  class ${printable(column)} = ${printable(label)}: ${formatCount(before)} -> ${formatCount(after)} (${sign}${formatCount(after - before)})`
    }
  }
}
