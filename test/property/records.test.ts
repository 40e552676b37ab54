import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type CommitId,
  commitId,
  compareUtf8,
  type ContentId,
  contentId,
  isCxvError,
  type Json,
  packId,
  parseJsonBytes,
  prettyJsonBytes,
  runId,
  sampleListId,
} from '../../src/base/index.ts'
import {
  decodeFragment,
  decodeHistoryPack,
  decodeRemoteRef,
  decodeRunContents,
  decodeRunRecord,
  decodeSampleList,
  encodeFragment,
  encodeHistoryPack,
  encodeRemoteRef,
  encodeRunContents,
  encodeRunRecord,
  encodeSampleList,
  type FragmentEntry,
  type FragmentPack,
  type HistoryPack,
  type RemoteRef,
  type RunRecord,
  type SampleLine,
} from '../../src/format/index.ts'

const hex = (digits: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: digits, maxLength: digits })
const content = hex(64).map((text): ContentId => contentId(text))
const commit = hex(40).map((text): CommitId => commitId(text))
const text = fc.string({ unit: 'binary', maxLength: 12 }).filter((s) => !/\p{Surrogate}/u.test(s))
const size = fc.nat({ max: 2 ** 40 })
/** As JSON gives it back: no -0, no undefined. */
const json = fc
  .jsonValue({ maxDepth: 2 })
  .map((value) => parseJsonBytes(prettyJsonBytes(value)) as Json)

/** Of plain objects, as decoders make them. */
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>

const damage = fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 }))

interface Codec<T> {
  readonly encode: (value: T) => Uint8Array
  readonly decode: (bytes: Uint8Array) => T
}

/**
 * What was encoded is decoded; with any byte changed it is refused, or is something else that has an
 * encoding.
 * @param strict that encoding is the changed bytes themselves (JSON may be spaced in several ways)
 */
function check<T>(values: fc.Arbitrary<T>, { encode, decode }: Codec<T>, strict: boolean): void {
  fc.assert(
    fc.property(values, damage, (value, [where, mask]) => {
      const bytes = Uint8Array.from(encode(value))
      assert.deepEqual(decode(bytes), value)
      bytes[where % bytes.length]! ^= mask
      let other: T
      try {
        other = decode(bytes)
      } catch (error) {
        assert.ok(isCxvError(error, 'FORMAT_INVALID'), String(error))
        return
      }
      // Of JSON that is spaced in another way, or has a number too large for one: what is written of it.
      const once = strict ? bytes : encode(other)
      assert.deepEqual(Buffer.from(encode(strict ? other : decode(once))), Buffer.from(once))
    }),
    { numRuns: 500, endOnFailure: true },
  )
}

const name = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 6 })
  .filter((s) => !/[/\u0000]|\p{Surrogate}/u.test(s) && !/^(\.{1,2}|\.git|\.cxv)$/i.test(s))

test('sample lists: round trip, one encoding', () => {
  const line: fc.Arbitrary<SampleLine> = record({
    path: fc.oneof(name, fc.constantFrom('a/b.png', 'ü/"', 'x\ny')),
    id: content,
    group: fc.oneof(text, fc.constantFrom('1280', 'A\tB', '\\x41')),
    split: fc.constantFrom('train', 'val', 'test'),
    y: fc.array(fc.constantFrom(0, 1, Number.NaN), { minLength: 1, maxLength: 4 }),
  })
  const lists = fc
    .uniqueArray(line, { selector: (l) => l.path, maxLength: 6 })
    .map((lines): readonly SampleLine[] => [...lines].sort((a, b) => compareUtf8(a.path, b.path)))
  check(lists, { encode: encodeSampleList, decode: (bytes) => decodeSampleList(bytes) }, true)
})

test('run records: round trip; what else is read has an encoding', () => {
  const finite = fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0)
  const records: fc.Arbitrary<RunRecord> = record({
    format: fc.constant(1 as const),
    id: hex(11).map((digits) => runId(`r${digits}`)),
    name: text,
    status: fc.constantFrom('running', 'finished', 'failed', 'interrupted'),
    startedAt: size,
    endedAt: fc.option(size),
    commit,
    rev: text,
    snapshot: fc.boolean(),
    sampleList: hex(64).map((digits) => sampleListId(digits)),
    pin: json,
    config: json,
    seed: finite,
    engine: record({ name: text, version: text, reason: text }),
    code: fc.option(
      record({ commit: text, dirty: fc.boolean(), patch: fc.option<ContentId>(content) }),
    ),
    versions: fc.dictionary(text, text, { noNullPrototype: true }),
    hardware: json,
    argv: fc.array(text, { maxLength: 3 }),
    metrics: json,
    models: fc.array(
      record({ name: text, id: content, bytes: size, format: fc.constant('safetensors' as const) }),
      { maxLength: 2 },
    ),
    resumes: fc.array(record({ at: size, epoch: size }), {
      maxLength: 2,
    }),
    reason: text,
  })
  check(records, { encode: encodeRunRecord, decode: decodeRunRecord }, false)
})

test('contents of runs: round trip; what else is read has an encoding', () => {
  const contents = fc.array(record({ id: content, name: text, size }), { maxLength: 4 })
  check(contents, { encode: encodeRunContents, decode: decodeRunContents }, false)
})

test('history packs: round trip, one encoding', () => {
  const packs: fc.Arbitrary<HistoryPack> = record({
    tips: fc.array(commit, { minLength: 1, maxLength: 4 }),
    bases: fc.array(commit, { maxLength: 4 }),
    pack: fc.uint8Array({ maxLength: 60 }),
  })
  check(packs, { encode: encodeHistoryPack, decode: decodeHistoryPack }, true)
})

test('refs of remotes: round trip; what else is read has an encoding', () => {
  const refs: fc.Arbitrary<RemoteRef> = record({
    commit,
    seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    pushId: hex(32),
    prev: fc.option(commit),
  })
  check(refs, { encode: encodeRemoteRef, decode: decodeRemoteRef }, false)
})

interface FragmentContent {
  readonly packs: readonly FragmentPack[]
  readonly entries: readonly FragmentEntry[]
}

test('fragments: round trip, one encoding', () => {
  const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
  const pack: fc.Arbitrary<FragmentPack> = record({
    id: hex(64).map((digits) => packId(digits)),
    size: fc.constant(10_000),
    kind: fc.constantFrom('data', 'meta'),
  })
  const entry: fc.Arbitrary<FragmentEntry> = record({
    kind: fc.constantFrom('chunk', 'recipe'),
    id: fc.oneof(bytes32, fc.constantFrom(new Uint8Array(32), new Uint8Array(32).fill(255))),
    pack: fc.constant(0),
    offset: fc.integer({ min: 8, max: 5000 }),
    length: fc.integer({ min: 64, max: 5000 }),
    plainLength: fc.nat({ max: 4 << 20 }),
  })
  const order = (a: FragmentEntry, b: FragmentEntry): number =>
    Buffer.compare(a.id, b.id) || (a.kind < b.kind ? -1 : 1)
  const fragments: fc.Arbitrary<FragmentContent> = record({
    packs: fc.array(pack, { minLength: 1, maxLength: 3 }),
    entries: fc
      .uniqueArray(entry, {
        selector: ({ kind, id }) => `${kind}${Buffer.from(id).toString('hex')}`,
        maxLength: 6,
      })
      .map((entries) => [...entries].sort(order)),
  })
  check(
    fragments,
    {
      encode: ({ packs, entries }) => encodeFragment(packs, entries),
      decode(bytes) {
        const { packs, count, entry: read } = decodeFragment(bytes)
        return { packs, entries: Array.from({ length: count }, (_, i) => read(i)) }
      },
    },
    true,
  )
})
