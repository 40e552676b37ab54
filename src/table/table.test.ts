import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { workRepo, type WorkRepo } from '../../test/helpers/work-repo.ts'
import type { TableDeclaration } from '../repo/types.ts'
import { declareTable, diffTables, openTables, type TableReport } from './index.ts'

const LABELS = [
  'Image Index,Finding Labels,Patient ID,Sex',
  'a.png,No Finding,1,F',
  'b.png,Mass|Nodule,1,F',
  'c.png,Mass,00000002,F',
  'd.png,,3,F',
  '',
].join('\n')

const images = (folder: string, ...names: readonly string[]): Record<string, string> =>
  Object.fromEntries(names.map((name) => [`${folder}${name}.png`, `bytes of ${folder}${name}`]))

async function labelled(
  t: Parameters<typeof workRepo>[0],
  files: Readonly<Record<string, string>> = images('images/', 'a', 'b', 'c', 'e'),
  input: { readonly pathRoot?: string; readonly match?: TableDeclaration['match'] } = {},
): Promise<WorkRepo & { report: TableReport }> {
  const work = await workRepo(t, 'table')
  await work.add({ 'Labels.csv': LABELS, ...files })
  const report = await declareTable(work.ctx, work.repo, {
    name: 'labels',
    path: 'Labels.csv',
    key: 'Image Index',
    ...input,
  })
  return { ...work, report }
}

async function ask({ ctx, repo }: WorkRepo, sql: string, rev?: string): Promise<unknown> {
  const version = rev === undefined ? 'stage' : await repo.history.resolve(rev)
  const session = await openTables(ctx, repo, version)
  try {
    return (await session.query(sql)).rows
  } finally {
    session.close()
  }
}

test('how keys name files is found out', async (t) => {
  const below = await labelled(t)
  assert.equal(below.report.declaration.match, 'root')
  assert.equal(below.report.declaration.pathRoot, 'images')
  assert.equal(below.report.matchedRows, 3)
  assert.deepEqual(below.report.rowsWithoutFile, { count: 1, examples: ['d.png'] })
  assert.deepEqual(below.report.filesWithoutRow, { count: 1, examples: ['images/e.png'] })

  const top = await labelled(t, images('', 'a', 'b'))
  assert.deepEqual([top.report.declaration.match, top.report.declaration.pathRoot], ['root', ''])

  // As the NIH ships them: images_001/images/..., images_002/images/...
  const spread = await labelled(t, { ...images('images_001/', 'a'), ...images('images_002/', 'b') })
  assert.equal(spread.report.declaration.match, 'basename')
  assert.equal(spread.report.matchedRows, 2)

  const asked = await labelled(
    t,
    { ...images('images_001/', 'a', 'c'), ...images('images_002/', 'b') },
    { match: 'root' },
  )
  const { match, pathRoot } = asked.report.declaration
  assert.deepEqual([match, pathRoot, asked.report.matchedRows], ['root', 'images_001', 2])

  const nowhere = await labelled(t, images('', 'x'), { match: 'root' })
  assert.equal(nowhere.report.declaration.match, 'root')
  assert.equal(nowhere.report.matchedRows, 0)

  const none = await labelled(t, images('', 'x'))
  assert.equal(none.report.declaration.match, 'none')

  const said = await labelled(t, images('images/', 'a'), { pathRoot: 'other' })
  assert.equal(said.report.matchedRows, 0)
})

test('a table is refused by name, path and key', async (t) => {
  const work = await labelled(t)
  const declare = (name: string, path: string, key: string): Promise<unknown> =>
    declareTable(work.ctx, work.repo, { name, path, key })
  for (const name of ['1st', 'a b', 'select', '']) {
    await assert.rejects(declare(name, 'Labels.csv', 'Image Index'), { code: 'TABLE_INVALID' })
  }
  for (const name of ['files', 'Files', 'LABELS', 'labels_files'])
    await assert.rejects(declare(name, 'Labels.csv', 'Image Index'), { code: 'TABLE_EXISTS' }, name)
  await assert.rejects(declare('labels', 'images/a.png', 'Image Index'), { code: 'TABLE_EXISTS' })
  await assert.rejects(declare('more', 'More.csv', 'x'), {
    code: 'PATH_NOT_FOUND',
    hint: /cxv add More\.csv/,
  })
  await assert.rejects(declare('more', 'Labels.csv', 'Image Indx'), {
    code: 'COLUMN_UNKNOWN',
    hint: 'did you mean "Image Index"?',
  })
  await work.add({ 'Twice.csv': 'id,v\nx,1\ny,1\nx,2\n,3\n"  ",4\n' })
  await assert.rejects(declare('twice', 'Twice.csv', 'id'), {
    code: 'TABLE_KEY',
    message: /1 keys occur .*"x" 2 times \(lines 2, 4\); 2 rows have an empty key/,
  })
  assert.deepEqual(
    (await work.repo.config()).tables.map((table) => table.name),
    ['labels'],
  )
})

test('questions see files, tables and both joined, at any version', async (t) => {
  const work = await labelled(t)
  await work.commit()
  assert.deepEqual(await ask(work, 'select count(*) from labels'), [[4]])
  // Leading zeros are kept, and a number still finds them.
  assert.deepEqual(await ask(work, 'select "Image Index" from labels where "Patient ID" = 2'), [
    ['c.png'],
  ])
  assert.deepEqual(
    await ask(work, `select "Sex", path, name from labels_files where "Finding Labels" = 'Mass'`),
    [['F', 'images/c.png', 'c.png']],
  )
  await work.add({ 'Labels.csv': LABELS.replace('c.png,Mass,', 'c.png,Hernia,') })
  const hernias = `select count(*) from labels where "Finding Labels" = 'Hernia'`
  assert.deepEqual(await ask(work, hernias), [[1]])
  assert.deepEqual(await ask(work, hernias, 'HEAD'), [[0]])
})

test('answers are plain JSON: dates ISO, large integers numbers where they fit', async (t) => {
  const work = await workRepo(t, 'json')
  const sql =
    "select 9007199254740991::bigint, 9007199254740993::bigint, sum(1::hugeint), 1.50::decimal(5,2), date '2017-01-02', timestamp '2017-01-02 03:04:05', [1, 2], null, true, 'x'"
  assert.deepEqual(await ask(work, sql), [
    [
      9007199254740991,
      '9007199254740993',
      1,
      1.5,
      '2017-01-02',
      '2017-01-02 03:04:05',
      '[1,2]',
      null,
      true,
      'x',
    ],
  ])
})

test('wrong questions name what is nearest', async (t) => {
  const work = await labelled(t)
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['select "Patient Id2" from labels', 'COLUMN_UNKNOWN', /did you mean "Patient ID"/],
    ['select l."Sx" from labels l', 'COLUMN_UNKNOWN', /did you mean "Sex"/],
    ['select Patient from labels', 'COLUMN_UNKNOWN', /did you mean "Patient ID"/],
    ['from label', 'TABLE_UNKNOWN', /did you mean labels/],
    ['from labels_file', 'TABLE_UNKNOWN', /did you mean labels_files/],
    ['selec 1', 'SQL_FAILED', /double quotes/],
    ['', 'SQL_FAILED', /SELECT/],
    ['-- nothing', 'SQL_FAILED', /SELECT/],
    ['; ;', 'SQL_FAILED', /SELECT/],
  ]
  for (const [sql, code, hint] of cases) await assert.rejects(ask(work, sql), { code, hint }, sql)
})

test('a table that is not in the version is left out with a warning, not in the way', async (t) => {
  const work = await labelled(t)
  await work.repo.updateConfig((c) => ({
    ...c,
    tables: [
      ...c.tables,
      { name: 'gone', path: 'Gone.csv', key: 'id', match: 'none', pathRoot: '' },
    ],
  }))
  assert.deepEqual(await ask(work, 'select count(*) from labels'), [[4]])
  assert.ok(work.ctx.events.some((e) => e.type === 'warn' && /gone/.test(e.message)))
  await assert.rejects(ask(work, 'from gone'), { code: 'TABLE_INVALID', hint: /cxv add Gone\.csv/ })
})

test('a damaged copy in the cache is written again', async (t) => {
  const work = await labelled(t)
  assert.deepEqual(await ask(work, 'select count(*) from labels'), [[4]])
  const folder = join(work.repo.folder, 'cache', 'tables')
  for (const name of readdirSync(folder)) writeFileSync(join(folder, name), 'a,b\n1,2\n')
  assert.deepEqual(await ask(work, 'select count(*) from labels'), [[4]])
})

test('a question stops when it is aborted', async (t) => {
  const stop = new AbortController()
  const work = await labelled(t)
  const session = await openTables({ ...work.ctx, signal: stop.signal }, work.repo, 'stage')
  t.after(() => session.close())
  const asked = session.query('select count(*) from range(1000000000000) r where r.range % 7 = 3')
  setImmediate(() => stop.abort(new Error('stopped by the test')))
  await assert.rejects(asked, /stopped by the test/)
})

test('a diff names rows, columns, cells and class counts', async (t) => {
  const work = await labelled(t)
  const first = await work.commit()
  const changed = [
    'Image Index,Finding Labels,Patient ID,View',
    'a.png,No Finding,1,PA',
    'b.png,Mass,1,PA',
    'c.png,Mass,2,AP',
    'f.png,Mass,4,AP',
    '',
  ].join('\n')
  await work.add({ 'Labels.csv': changed })
  assert.deepEqual(await diffTables(work.ctx, work.repo, first, first), [])
  const [diff] = await diffTables(work.ctx, work.repo, first, 'stage')
  assert.ok(diff !== undefined)
  const { cells, classes, ...counts } = diff
  assert.deepEqual(counts, {
    table: 'labels',
    change: 'changed',
    rowsBefore: 4,
    rowsAfter: 4,
    rowsAdded: 1,
    rowsRemoved: 1,
    rowsChanged: 2,
    addedExamples: ['f.png'],
    removedExamples: ['d.png'],
    columnsAdded: ['View'],
    columnsRemoved: ['Sex'],
  })
  // 00000002 became 2: the file says so, so the diff does.
  assert.deepEqual(cells, [
    {
      column: 'Finding Labels',
      cells: 1,
      examples: [{ key: 'b.png', before: 'Mass|Nodule', after: 'Mass' }],
    },
    {
      column: 'Patient ID',
      cells: 1,
      examples: [{ key: 'c.png', before: '00000002', after: '2' }],
    },
  ])
  assert.deepEqual(classes, [
    { column: 'Finding Labels', label: 'Mass', before: 2, after: 3 },
    { column: 'Finding Labels', label: 'Nodule', before: 1, after: 0 },
  ])
  const [whole] = await diffTables(work.ctx, work.repo, null, first)
  assert.deepEqual([whole?.change, whole?.rowsAdded, whole?.rowsBefore], ['added', 4, 0])
})

test('a diff survives a table that is none, and says when keys are no keys', async (t) => {
  const work = await labelled(t)
  const first = await work.commit()
  await work.add({ 'Labels.csv': `${LABELS}a.png,Mass,1,F\n` })
  const [diff] = await diffTables(work.ctx, work.repo, first, 'stage')
  assert.equal(diff?.rowsAfter, 5)
  assert.ok(work.ctx.events.some((e) => e.type === 'warn' && e.code === 'TABLE_KEY'))
  await work.add({ 'Labels.csv': 'something else\n1,2,3\n' })
  assert.deepEqual(await diffTables(work.ctx, work.repo, first, 'stage'), [])
  assert.ok(work.ctx.events.some((e) => e.type === 'warn' && e.code === 'TABLE_INVALID'))
})
