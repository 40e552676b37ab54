/**
 * SQL over the files and tables of a version. Concern: loading them safely, declaring tables, row diffs.
 * Not its concern: which images a training uses (dataset).
 */
export { csvLine } from './csv.ts'
export { coverage, declareTable, type TableReport } from './declare.ts'
export { columnUnknown, type QueryResult, quoteName } from './duckdb.ts'
export { diffTables, type TableDiff } from './diff.ts'
export { joinSelect } from './load.ts'
export { openTables, openTablesOf, type TableSession, type Version } from './session.ts'
