import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ContentId, isCxvError, utf8 } from '../base/index.ts'
import {
  decodeDataset,
  decodeShard,
  decodeShardOrder,
  decodeTables,
  encodeDataset,
  encodeShard,
  encodeTables,
  escapePath,
  type ManifestRow,
  MAX_SHARD_ROWS,
  pathProblem,
  shardEnd,
  shardNames,
  startsShard,
  unescapePath,
} from './manifest.ts'
import { loadXxh64 } from './xxh64.ts'

const ID = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08' as ContentId
const row = (path: string): ManifestRow => ({ path, size: 1, executable: false, id: ID })

test('paths are escaped in one way', () => {
  assert.equal(escapePath('a"b\\c\nd\te\u007f'), 'a\\x22b\\x5cc\\x0ad\\x09e\\x7f')
  assert.equal(unescapePath('a\\x22b\\x5cc\\x0ad'), 'a"b\\c\nd')
  for (const text of [
    'a\\x61',
    'a\\x5C',
    'a\\',
    'a\\n',
    'a"',
    'a\tb',
    '\\x2',
    '\\x00a',
    'a\\x2fb',
  ]) {
    assert.throws(() => unescapePath(text), { code: 'FORMAT_INVALID' }, text)
  }
})

test('paths that could leave the work tree, or be read as something else, are refused', () => {
  const bad = ['', '/a', 'a/', 'a//b', '.', '..', './a', 'a/..', '../a', 'a/./b', 'a\u0000b']
  bad.push('.git', '.git/config', '.GIT/x', 'a/.git/config', '.cxv', '.Cxv/config.json', 'a/.cxv')
  bad.push('\ud800', 'a\udc00b', 'x'.repeat(4097), 'é'.repeat(2049))
  for (const path of bad) {
    assert.ok(pathProblem(path), JSON.stringify(path))
    assert.throws(() => encodeShard([row(path)]), Error)
  }
  const good = ['a', '...', '.gitignore', 'a/.gitx', '.cxvignore', 'a b', 'ü/😀', 'x'.repeat(4096)]
  for (const path of good) assert.equal(pathProblem(path), undefined, path)
})

test('hostile shards are refused', () => {
  const line = (path: string, size = '1', mode = '100644', id: string = ID): string =>
    `${mode} ${size} ${id}\t${path}\n`
  const hostile: Readonly<Record<string, string>> = {
    empty: '',
    'cut short': line('a').slice(0, -1),
    'not sorted': line('b') + line('a'),
    twice: line('a') + line('a'),
    'UTF-16 order': line('\u{10000}') + line('\uffff'),
    'leaves the tree': line('../a'),
    absolute: line('/etc/passwd'),
    'git folder': line('.git/hooks/post-checkout'),
    NUL: line('a\u0000b'),
    'link mode': line('a', '1', '120000'),
    'leading zero': line('a', '01'),
    'negative size': line('a', '-1'),
    'size over 2^53': line('a', '9007199254740993'),
    'size too long': line('a', '12345678901234567'),
    'upper-case id': line('a', '1', '100644', ID.toUpperCase()),
    'byte order mark': `\ufeff${line('a')}`,
    'blank line': `${line('a')}\n`,
    'carriage return': line('a').replace('\n', '\r\n'),
    'second tab': line('a\tb'),
    'too long a path': line('x'.repeat(4097)),
  }
  for (const [what, text] of Object.entries(hostile)) {
    assert.throws(() => decodeShard(utf8(text)), { code: 'FORMAT_INVALID' }, what)
    if (text === '') continue
    const second = line('A') + text
    assert.throws(() => decodeShard(utf8(second)), { code: 'FORMAT_INVALID' }, `second: ${what}`)
  }
  // As large as a shard may be, and wrong in its last byte.
  const long = Array.from({ length: MAX_SHARD_ROWS }, (_, i) => row(`${10_000 + i}`.repeat(800)))
  assert.deepEqual(decodeShard(encodeShard(long)), long)
  const torn = encodeShard(long).subarray(0, -1)
  assert.throws(() => decodeShard(torn), { code: 'FORMAT_INVALID' })
  assert.throws(() => decodeShard(Buffer.from(`${line('a').slice(0, -2)}\xff\n`, 'latin1')), {
    code: 'FORMAT_INVALID',
  })
  const many = Array.from({ length: MAX_SHARD_ROWS + 1 }, (_, i) => row(String(10_000 + i)))
  assert.throws(() => decodeShard(encodeShard(many)), { code: 'FORMAT_INVALID' })
})

test('shards are cut by the path, and at the cap', async () => {
  const xxh64 = await loadXxh64()
  const names = Array.from({ length: 20_000 }, (_, i) => String(100_000 + i))
  const rows = names.map(row)
  const lengths: number[] = []
  for (let at = 0; at < rows.length;) {
    const end = shardEnd(rows, at, xxh64)
    assert.ok(at === 0 || startsShard(names[at] ?? '', xxh64) || lengths.at(-1) === MAX_SHARD_ROWS)
    lengths.push(end - at)
    at = end
  }
  assert.ok(lengths.length > 50 && lengths.length < 110, `${lengths.length} shards`)
  const uncut = names.filter((name) => !startsShard(name, xxh64)).map(row)
  assert.equal(shardEnd(uncut, 0, xxh64), MAX_SHARD_ROWS)
})

test('shards of one hash have names of their own', async () => {
  const xxh64 = await loadXxh64()
  // Made to collide: XXH64 with a known seed is no defence against it.
  const twins = [
    'obnadfcbeszycidpyopumzgdpamntyyaMsoo)YBwwoixzhsdkaaauramvgnxaqhy12.png',
    'oprhlhvheszycidpyopumzgdpamntyyayojanrudwoixzhsdkaaauramvgnxaqhy12.png',
  ]
  for (const twin of twins) assert.ok(startsShard(twin, xxh64))
  const [first, second, third] = shardNames(['a', ...twins], xxh64)
  assert.equal(first, 'first')
  assert.match(second ?? '', /^[0-9a-f]{16}$/)
  assert.equal(third, `${second}-2`)
})

test('dataset.json and tables.json have one encoding', () => {
  const facts = { files: 3, bytes: 99 }
  assert.deepEqual(decodeDataset(encodeDataset(facts)), facts)
  const tables = [
    { name: 'b', path: 't.csv', key: 'id', match: 'none', pathRoot: '' },
    { name: 'a', path: 'u.csv', key: 'k', match: 'root', pathRoot: 'images' },
  ] as const
  assert.deepEqual(decodeTables(encodeTables(tables)), [tables[1], tables[0]])
  assert.deepEqual(decodeTables(encodeTables([])), [])
  const bad = ['', '[]', '{}', 'null', '{"format":1,"files":3,"bytes":99}', '{"files":1}']
  bad.push('{\n  "format": 1,\n  "files": -3,\n  "bytes": 99\n}\n', '{"__proto__":{"files":1}}')
  bad.push('\ufeff{\n  "format": 1,\n  "files": 3,\n  "bytes": 99\n}\n')
  for (const text of bad) {
    assert.throws(() => decodeDataset(utf8(text)), { code: 'FORMAT_INVALID' }, text)
  }
  assert.throws(() => decodeDataset(utf8('{"format":2}')), { code: 'REPO_FORMAT' })
  const table = { name: 'a', path: 'a.csv', key: 'k', match: 'root', pathRoot: '' }
  for (const change of [
    { path: '../a' },
    { pathRoot: '/x' },
    { match: 'x' },
    { more: 1 },
    { key: 1 },
  ]) {
    const text = `${JSON.stringify([{ ...table, ...change }], null, 2)}\n`
    assert.throws(() => decodeTables(utf8(text)), { code: 'FORMAT_INVALID' }, text)
  }
  const twice = `${JSON.stringify([table, table], null, 2)}\n`
  assert.throws(() => decodeTables(utf8(twice)), { code: 'FORMAT_INVALID' })
})

test('the order of shards is sorted paths and nothing else', () => {
  assert.deepEqual(decodeShardOrder(utf8('a\nb/c\n')), ['a', 'b/c'])
  for (const text of ['', 'a', 'b\na\n', 'a\na\n', 'a\n\n', '../a\n']) {
    assert.throws(
      () => decodeShardOrder(utf8(text)),
      (error) => isCxvError(error, 'FORMAT_INVALID'),
      JSON.stringify(text),
    )
  }
})
