import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nearest } from './text.ts'

test('only a word that was meant is offered: short ones are one letter away, others two', () => {
  const verbs = ['rm', 'log', 'ls', 'serve', 'status', 'commit', 'table add', 'message']
  const cases = [
    ['gc', undefined],
    ['mv', undefined],
    ['foo', undefined],
    ['merge', undefined],
    ['lgo', 'log'],
    ['lg', 'log'],
    ['stauts', 'status'],
    ['comit', 'commit'],
    ['cmomti', 'commit'],
    ['table ad', 'table add'],
    ['mesage', 'message'],
    ['massacre', undefined],
  ] as const
  for (const [word, near] of cases) assert.equal(nearest(word, verbs), near, word)
})
