import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { foldersOf } from './scan.ts'
import { openClashes } from './stage.ts'

const path = fc
  .array(fc.constantFrom('a', 'b', 'a-b', 'a0'), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join('/'))

/** Paths of which none is a folder of another, as a work tree and a version have them. */
const tree = fc.uniqueArray(path, { maxLength: 12 }).map((paths) => {
  const folders = foldersOf(paths)
  return paths.filter((p) => !folders.has(p))
})

const clash = (a: string, b: string): boolean => a.startsWith(`${b}/`) || b.startsWith(`${a}/`)

test('staged files displace exactly the tracked ones that cannot be beside them', () => {
  fc.assert(
    fc.property(tree, tree, (tracked, staged) => {
      const clashes = openClashes(new Map(tracked.map((p) => [p, p])))
      const displaced = new Set(staged.flatMap((p) => clashes(p)))
      for (const p of tracked)
        assert.equal(
          displaced.has(p),
          staged.some((q) => clash(p, q)),
          p,
        )
    }),
    { numRuns: 2_000 },
  )
})
