import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

test('every test that docs/design.md names is there, and every invariant names one', () => {
  const design = readFileSync('docs/design.md', 'utf8')
  const rows = [...design.matchAll(/^\| \d+ \|.*$/gm)].map(([row]) => row)
  assert.equal(rows.length, 9)
  for (const row of rows) {
    const named = [...row.matchAll(/`([^`]+\.test\.ts)`/g)].map(([, path = '']) => path)
    assert.notDeepEqual(named, [], row)
    assert.deepEqual(
      named.filter((path) => !existsSync(path)),
      [],
    )
  }
})
