import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { packId } from '../../src/base/index.ts'
import {
  createMessageReader,
  decodeFragment,
  decodeFrame,
  verifyPack,
} from '../../src/format/index.ts'

const FORMAT = fileURLToPath(new URL('../../../docs/format.md', import.meta.url))

/** The hexadecimal block under `<!-- example: name -->` in docs/format.md. */
function example(name: string): Uint8Array {
  const block = new RegExp(`<!-- example: ${name} -->\\s+\`\`\`([0-9a-f\\s]+)\`\`\``)
  const hex = block.exec(readFileSync(FORMAT, 'utf8'))?.[1]
  assert.ok(hex !== undefined, `docs/format.md has no example of a ${name}`)
  return Buffer.from(hex.replace(/\s/g, ''), 'hex')
}

test('the pack in docs/format.md is one', () => {
  const bytes = example('pack')
  const id = packId(createHash('sha256').update(bytes).digest('hex'))
  const { kind, entries } = verifyPack(id, bytes)
  assert.deepEqual([kind, entries.length], ['data', 1])
  assert.equal(Buffer.from(decodeFrame(bytes, entries[0]?.offset).plain).toString(), 'cxv\n')
})

test('the fragment in docs/format.md names that pack', () => {
  const pack = example('pack')
  const fragment = decodeFragment(example('fragment'))
  const { offset, length, id } = fragment.entry(0)
  const name = createHash('sha256').update(pack).digest('hex')
  assert.deepEqual(fragment.packs, [{ id: name, size: pack.length, kind: 'data' }])
  const { entry } = decodeFrame(pack.subarray(offset, offset + length))
  assert.deepEqual(Buffer.from(entry.id), Buffer.from(id))
})

test('the message in docs/format.md is one', () => {
  const [message] = createMessageReader().push(example('message'))
  assert.deepEqual(
    [message?.type, message?.id, message?.header],
    ['get', 1, { key: 'refs/heads/main' }],
  )
})
