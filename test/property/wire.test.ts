import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { concatBytes, isCxvError } from '../../src/base/index.ts'
import {
  createMessageReader,
  encodeMessage,
  isPlainRefName,
  type Message,
  type MessageType,
  refKey,
  refNameOfKey,
} from '../../src/format/index.ts'
import { isKey } from '../../src/backend/key.ts'

const message = fc.record({
  type: fc.constantFrom<MessageType>('hello', 'get', 'put', 'ok', 'more', 'fail'),
  id: fc.nat(0xffffffff),
  header: fc.dictionary(
    fc.string().filter((key) => key !== '__proto__'),
    fc.oneof(fc.string(), fc.integer(), fc.constant(null)),
  ),
  body: fc.uint8Array({ maxLength: 300 }),
})

const plain = (m: Message) => ({
  ...m,
  header: JSON.parse(JSON.stringify(m.header)) as unknown,
  body: Uint8Array.from(m.body),
})

void test('messages come back whole, however the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 40 })),
      (messages, cuts) => {
        const stream = concatBytes(messages.flatMap((m) => encodeMessage(m)))
        const reader = createMessageReader()
        const out: Message[] = []
        for (let at = 0, i = 0; at < stream.length; i++) {
          const next = at + (cuts[i % Math.max(1, cuts.length)] ?? 7)
          out.push(...reader.push(stream.subarray(at, next)))
          at = next
        }
        assert.deepEqual(out.map(plain), messages.map(plain))
        assert.equal(reader.partial, false)
      },
    ),
  )
})

void test('an empty body at no address is an empty body', () => {
  const body = new Uint8Array(Buffer.allocUnsafeSlow(0).buffer)
  const sent: Message = { type: 'ok', id: 3, header: { found: true }, body }
  assert.deepEqual(
    createMessageReader()
      .push(concatBytes(encodeMessage(sent)))
      .map(plain),
    [plain(sent)],
  )
})

void test('a flipped bit is never a message', () => {
  fc.assert(
    fc.property(message, fc.nat(), fc.integer({ min: 0, max: 7 }), (m, where, bit) => {
      const stream = concatBytes(encodeMessage(m))
      const at = where % stream.length
      stream[at] = (stream[at] ?? 0) ^ (1 << bit)
      const reader = createMessageReader(1000)
      try {
        // Longer lengths leave it waiting for bytes that never come; all else is refused.
        assert.deepEqual(reader.push(stream), [])
        assert.ok(reader.partial)
      } catch (error) {
        assert.ok(isCxvError(error, 'FORMAT_INVALID') || isCxvError(error, 'TOO_LARGE'))
      }
    }),
  )
})

void test('a length bomb is refused before anything is allocated', () => {
  const bomb = new Uint8Array(16)
  bomb.set([0x63, 0x78, 1, 16, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255])
  assert.throws(
    () => createMessageReader().push(bomb),
    (e) => isCxvError(e, 'TOO_LARGE'),
  )
})

void test('every ref name has one key, and only that key gives it back', () => {
  const part = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 })
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 3 }), (parts) => {
      const name = `refs/heads/${parts.join('/')}`
      fc.pre(isPlainRefName(name))
      const key = refKey(name)
      assert.equal(refNameOfKey(key), name)
      assert.ok(isKey(key))
    }),
  )
  for (const key of [
    'refs/heads/a_zz',
    'refs/heads/a_41',
    'refs/heads/..',
    'heads/main',
    'refs/heads/a_0a',
  ]) {
    assert.equal(refNameOfKey(key), undefined, key)
  }
})
