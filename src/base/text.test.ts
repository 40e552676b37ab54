import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nearest, printable, printableLine } from './text.ts'

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

test('of a URL passwords and tokens are hidden; user names and the text of a hint are not', () => {
  const token = 'ghp_0123456789abcdefghij'
  const cases = [
    ['ssh://anna@host/x', 'ssh://anna@host/x'],
    ['ssh://anna:secret@host/x', 'ssh://anna:***@host/x'],
    ['ssh://anna:se@cret@host/x', 'ssh://anna:***@host/x'],
    [`https://${token}@host/x`, 'https://***@host/x'],
    [`https://${token}:x@host/x`, 'https://***:***@host/x'],
    ['write it as ssh://[user@]host[:port]/path', 'write it as ssh://[user@]host[:port]/path'],
    ['ssh://host:22/a and b@c', 'ssh://host:22/a and b@c'],
  ] as const
  for (const [text, safe] of cases) assert.equal(printable(text), safe)
})

test('a path stays on its line', () => {
  assert.equal(printableLine('a\nb\tc\u001b[2J'), 'a?b?c?[2J')
})
