import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import { testContext } from '../../test/helpers/context.ts'
import { tempFolder } from '../../test/helpers/temp.ts'
import { utf8 } from '../base/index.ts'
import { loadCsv, readHeader } from './csv.ts'
import { type Cell, type Database, openDatabase } from './duckdb.ts'

const header = (text: string, path = 'a.csv') => readHeader(utf8(text), path)

test('a header is split by the separator that occurs most in it', () => {
  assert.deepEqual(header('a,b;c,d\n').names, ['a', 'b;c', 'd'])
  assert.deepEqual(header('a;b;c,d\r\n1;2;3\r\n').names, ['a', 'b', 'c,d'])
  assert.deepEqual(header('a\tb,c,d\n', 'x.tsv').names, ['a', 'b,c,d'])
  assert.deepEqual(header('\uFEFF"a ""x"", y",b\n').names, ['a "x", y', 'b'])
  assert.deepEqual(header('"two\nlines",b\n1,2').names, ['two\nlines', 'b'])
})

test('empty and repeated names are made unique, and said', () => {
  // The header of the NIH's BBox_List_2017.csv, and one of a spreadsheet.
  const boxes = header('Image Index,Finding Label,Bbox [x,y,w,h],,,\n')
  assert.deepEqual(boxes.names.slice(2), [
    'Bbox [x',
    'y',
    'w',
    'h]',
    'column6',
    'column7',
    'column8',
  ])
  assert.equal(boxes.notes.length, 3)
  const twice = header('Id,id,ID,column3,\n')
  assert.deepEqual(twice.names, ['Id', 'id_1', 'ID_2', 'column3', 'column4'])
  assert.equal(new Set(header('a,a,a_1\n').names.map((n) => n.toLowerCase())).size, 3)
})

test('a header that cannot be one is refused', () => {
  for (const text of ['', '\n1,2\n', '"never closed,b\n1,2\n'])
    assert.throws(() => header(text), { code: 'TABLE_INVALID' }, JSON.stringify(text))
  assert.throws(() => readHeader(utf8('a,b\n'), 'a.csv.gz'), { code: 'TABLE_INVALID' })
})

interface Loaded {
  readonly types: Readonly<Record<string, string>>
  readonly rows: readonly (readonly Cell[])[]
  readonly notes: readonly string[]
}

async function load(t: TestContext, bytes: Uint8Array | string, path = 'a.csv'): Promise<Loaded> {
  const folder = tempFolder(t, 'csv')
  const content = typeof bytes === 'string' ? utf8(bytes) : bytes
  const file = join(folder, path.endsWith('.gz') ? 'x.gz' : 'x')
  writeFileSync(file, content)
  const db: Database = await openDatabase(testContext())
  t.after(() => db.close())
  const { notes } = await loadCsv(db, 't', { file, bytes: content, path }, ['key'])
  const described = await db.query('describe t')
  const { rows } = await db.query('from t')
  return {
    types: Object.fromEntries(described.rows.map((r) => [String(r[0]), String(r[1])])),
    rows,
    notes,
  }
}

test('a column has a type only when every cell fits it', async (t) => {
  const { types, rows } = await load(
    t,
    [
      'key,int,zeros,long,float,mixed,date,day,time,sex,flag,empty,age',
      '1,-5,00000013,12345678901234567890,0.143,1,2017-02-28,01/02/2017,2017-02-28 10:00:00,F,true,,060Y',
      '2,,7,2,1e-3,x,2016-02-29,03/04/2017,2017-02-28T10:00:00.5,F,false,,57',
      '',
    ].join('\n'),
  )
  assert.deepEqual(types, {
    key: 'VARCHAR',
    int: 'BIGINT',
    zeros: 'VARCHAR',
    long: 'VARCHAR',
    float: 'DOUBLE',
    mixed: 'VARCHAR',
    date: 'DATE',
    day: 'VARCHAR',
    time: 'TIMESTAMP',
    sex: 'VARCHAR',
    flag: 'VARCHAR',
    empty: 'VARCHAR',
    age: 'VARCHAR',
  })
  assert.deepEqual(rows[0]?.slice(0, 5), ['1', -5, '00000013', '12345678901234567890', 0.143])
  assert.equal(rows[1]?.[1], null)
  assert.equal(rows[0]?.[6], '2017-02-28')
})

test('a day that is none leaves the column text', async (t) => {
  assert.equal((await load(t, 'key,d\n1,2017-02-30\n')).types['d'], 'VARCHAR')
})

test('quoting, CRLF, byte order marks, blank lines and gzip', async (t) => {
  const text = '\uFEFFkey;"a;b"\r\n1;"x;y"\r\n2;"two\r\nlines"\r\n3;"say ""no"""\r\n'
  const expected = [
    ['1', 'x;y'],
    ['2', 'two\r\nlines'],
    ['3', 'say "no"'],
  ]
  assert.deepEqual((await load(t, text)).rows, expected)
  const packed = await load(t, gzipSync(text), 'a.csv.gz')
  assert.deepEqual(packed.rows, expected)
  assert.deepEqual((await load(t, 'key,a\n1,2\n\n3,4\n')).rows, [
    ['1', 2],
    ['3', 4],
  ])
  assert.deepEqual((await load(t, 'key,a')).rows, [])
})

test('short rows are filled up and said; no row is dropped', async (t) => {
  const { rows, notes } = await load(t, 'key,a,b\n1,2,3\n2,3\n4\n#x,"q\nr",5\n')
  assert.deepEqual(rows, [
    ['1', '2', 3],
    ['2', '3', null],
    ['4', null, null],
    ['#x', 'q\nr', 5],
  ])
  assert.equal(notes.length, 1)
  assert.match(notes[0] ?? '', /^2 rows with fewer cells .*lines 3, 4/)
})

test('rows that would lose something are refused, by line', async (t) => {
  await assert.rejects(load(t, 'key,a\n1,2\n2,a,b\n3\n'), {
    code: 'TABLE_INVALID',
    message: /line 3: more cells/,
  })
  await assert.rejects(load(t, 'key,a\n1,2\n2,"open\n'), { code: 'TABLE_INVALID' })
  await assert.rejects(load(t, Buffer.from('key,a\n1,2\n2,M\xfcller\n', 'latin1')), {
    code: 'TABLE_INVALID',
    message: /line 3: the text is not UTF-8/,
  })
})
