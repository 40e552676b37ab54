import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compareUtf8 } from '../base/index.ts'
import { createPlaces } from './places.ts'

test('places are those of a map, in whatever order paths come', () => {
  const path = fc.stringMatching(/^[ab\u00e4\u{1f600}/.-]{1,4}$/u)
  fc.assert(
    fc.property(fc.uniqueArray(path), fc.array(path), (tracked, others) => {
      const rows = tracked.sort(compareUtf8).map((path) => ({ path }))
      const places = createPlaces(rows)
      const asked = [...tracked, ...others, ...tracked.toReversed()]
      const expected = new Map(tracked.map((path, i) => [path, i]))
      assert.deepEqual(
        asked.map((path) => [places.placeOf(path), places.has(path)]),
        asked.map((path) => [expected.get(path), expected.has(path)]),
      )
      assert.deepEqual([...places.keys()], tracked)
    }),
  )
})

test('paths that come in the order of the rows are found without a search', () => {
  let reads = 0
  const rows = Array.from({ length: 1_000 }, (_, i) => String(i).padStart(4, '0')).map((path) => ({
    get path() {
      reads++
      return path
    },
  }))
  const places = createPlaces(rows)
  for (let i = 0; i < rows.length; i++) places.placeOf(String(i).padStart(4, '0'))
  assert.ok(reads <= 2 * rows.length, `${reads} reads`)
})
