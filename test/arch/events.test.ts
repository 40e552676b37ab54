import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

const SOURCE = readFileSync('src/base/events.ts', 'utf8')
const DOCS = readFileSync('docs/events.md', 'utf8')

/** Text of an exported type, up to the next declaration. */
function typeText(name: string): string {
  const text = new RegExp(`^export type ${name} =([^]*?)\\n\\n`, 'm').exec(SOURCE)?.[1]
  assert.ok(text !== undefined, `src/base/events.ts has no type ${name}`)
  return text
}

test('docs/events.md lists every event with its fields, and no other', () => {
  const known = [...typeText('Event').matchAll(/\{([^{}]*)\}/g)].map(([, member = '']) => {
    const type = /readonly type: '([^']+)'/.exec(member)?.[1]
    const fields = [...member.matchAll(/readonly (\w+\??):/g)].map(([, field]) => field)
    return `${type}: ${fields.filter((field) => field !== 'type').join(' ')}`
  })
  const documented = [...DOCS.matchAll(/^\| `([a-z.]+)` \| ([^|]+) \|/gm)].map(
    ([, type, fields = '']) =>
      `${type}: ${[...fields.matchAll(/`(\w+\??)`/g)].map(([, field]) => field).join(' ')}`,
  )
  assert.ok(known.length > 5)
  assert.deepEqual(documented, known)
})

test('docs/events.md lists every unit of a task, and no other', () => {
  const quoted = (text: string, mark: string): readonly (string | undefined)[] =>
    [...text.matchAll(new RegExp(`${mark}(\\w+)${mark}`, 'g'))].map(([, word]) => word)
  const said = /`unit` is (.*?) \|/.exec(DOCS)?.[1] ?? ''
  assert.deepEqual(quoted(said, '`'), quoted(typeText('TaskUnit'), "'"))
})
