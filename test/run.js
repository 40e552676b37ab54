// Runs the compiled tests: `node test/run.js [group ...]`. Groups: unit (beside the code, suites,
// property, arch), e2e, crash, hostile. None named: all. Node's own runner prints the closing lines.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const groups = {
  unit: ['dist/src', 'dist/fixtures', 'dist/test/suites', 'dist/test/property', 'dist/test/arch'],
  hostile: ['dist/test/hostile'],
  crash: ['dist/test/crash'],
  e2e: ['dist/test/e2e'],
}
const wanted = process.argv.slice(2).filter((a) => !a.startsWith('--'))
const flags = process.argv.slice(2).filter((a) => a.startsWith('--'))
const named = wanted.length > 0 ? wanted : Object.keys(groups)

/** tsc leaves what it compiled of a source that has gone since; that is no test any more. */
const hasSource = (path) => existsSync(path.replace(/^dist./, '').replace(/\.js$/, '.ts'))

function testsUnder(dir) {
  let names
  try {
    names = readdirSync(dir, { recursive: true })
  } catch {
    return []
  }
  return names
    .filter((n) => n.endsWith('.test.js'))
    .map((n) => join(dir, n))
    .filter(hasSource)
}
const files = named.flatMap((g) => (g in groups ? groups[g].flatMap(testsUnder) : [g])).sort()
if (files.length === 0) {
  console.error(`no tests in: ${named.join(', ')}`)
  process.exit(1)
}
// Two files at a time: the tests measure nothing, but they start real servers and trainers.
const run = spawnSync(
  process.execPath,
  [
    '--test',
    '--test-concurrency=2',
    '--test-timeout=900000',
    '--test-reporter=spec',
    ...flags,
    ...files,
  ],
  { stdio: 'inherit' },
)
process.exit(run.status ?? 1)
