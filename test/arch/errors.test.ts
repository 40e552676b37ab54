import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { CODES } from '../../src/base/errors.ts'

test('docs/errors.md lists every code with its exit status, and no other', () => {
  const rows = readFileSync('docs/errors.md', 'utf8').matchAll(/^\| ([A-Z_]+) \| (\d+) \|/gm)
  const documented = [...rows].map(([, code, exit]) => `${code} ${exit}`).sort()
  const known = Object.entries(CODES)
    .map(([code, { exit }]) => `${code} ${exit}`)
    .sort()
  assert.deepEqual(documented, known)
})

test('every code is raised somewhere in src', () => {
  const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
    .filter(
      (name) =>
        name.endsWith('.ts') && !name.endsWith('.test.ts') && name !== join('base', 'errors.ts'),
    )
    .map((name) => readFileSync(join('src', name), 'utf8'))
    .join('\n')
  // Comparing with a code is not raising it: it must be what an error, a result or a warning is made with.
  const raised = [...sources.matchAll(/new CxvError\(\s*'([A-Z_]+)'|\bcode: '([A-Z_]+)'/g)]
  const found = new Set(raised.map(([, thrown, told]) => thrown ?? told))
  const unused = Object.keys(CODES).filter((code) => !found.has(code))
  assert.deepEqual(unused, [])
})
