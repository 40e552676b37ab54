import assert from 'node:assert/strict'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openTables } from '../../src/table/index.ts'
import type { TableDeclaration } from '../../src/repo/types.ts'
import { tempFolder } from '../helpers/temp.ts'
import { workRepo } from '../helpers/work-repo.ts'

const declaration = (more: Partial<TableDeclaration>): TableDeclaration => ({
  name: 'labels',
  path: 'Labels.csv',
  key: 'id',
  match: 'root',
  pathRoot: '',
  ...more,
})

test('SQL reaches no file, network, extension or setting', async (t) => {
  const { ctx, repo, add } = await workRepo(t, 'sql')
  const outside = tempFolder(t, 'outside')
  const secret = join(outside, 'secret.csv')
  writeFileSync(secret, 'a\nthe secret\n')
  mkdirSync(join(outside, 'db'))
  await add({ 'Labels.csv': 'id\n1\n' })
  await repo.updateConfig((c) => ({ ...c, tables: [declaration({})] }))
  const session = await openTables(ctx, repo, 'stage')
  t.after(() => session.close())
  const made = join(outside, 'made')
  const own = join(repo.folder, 'config.json')
  const statements = [
    `copy (select 1) to '${made}'`,
    `copy labels from '${secret}'`,
    `export database '${made}'`,
    `import database '${outside}/db'`,
    `select * from read_csv('${secret}')`,
    `select * from read_csv('/etc/passwd')`,
    `select * from read_text('${own}')`,
    `select * from read_blob('${secret}')`,
    `select * from read_parquet('${secret}')`,
    `select * from read_json('${own}')`,
    `select * from sniff_csv('${secret}')`,
    `select * from glob('/*')`,
    `from '${secret}'`,
    `from '${outside}/*.csv'`,
    `attach '${made}.db' as x`,
    `attach ':memory:' as x`,
    `install httpfs`,
    `force install httpfs from '${outside}'`,
    `load httpfs`,
    `load '${outside}/x.duckdb_extension'`,
    `from 'https://example.org/x.csv'`,
    `set enable_external_access = true`,
    `set memory_limit = '100GB'`,
    `set threads = 64`,
    `reset lock_configuration`,
    `pragma enable_profiling`,
    `pragma profiling_output = '${made}'`,
    `pragma log_query_path = '${made}'`,
    `create secret s (type s3, key_id 'a', secret 'b')`,
    `create persistent secret s (type s3, key_id 'a', secret 'b')`,
    `call enable_logging('QueryLog', storage_path = '${made}')`,
    `update labels set id = 'x'`,
    `delete from labels`,
    `drop table labels`,
    `select 1; drop table labels`,
    `select 1; copy (select 1) to '${made}'`,
    `select getenv('HOME')`,
  ]
  for (const sql of statements) await assert.rejects(session.query(sql), { name: 'CxvError' }, sql)
  assert.ok(!existsSync(made) && !existsSync(`${made}.db`))
  assert.deepEqual((await session.query('from labels')).rows, [['1']])
})

test('a question too large for memory fails, and the next one is answered', async (t) => {
  const { ctx, repo } = await workRepo(t, 'sql')
  const session = await openTables(ctx, repo, 'stage')
  t.after(() => session.close())
  await assert.rejects(
    session.query('select list(range || repeat(chr(65), 1000)) from range(10000000)'),
    { code: 'SQL_FAILED' },
  )
  assert.deepEqual((await session.query('select 1')).rows, [[1]])
})

test('declarations of a hostile repository are names, not SQL', async (t) => {
  const { ctx, repo, add } = await workRepo(t, 'sql')
  const nasty = `x" as select 1; drop table files; --`
  await add({
    'Labels.csv': 'id,"say ""hi""",path,file_path,id2\na.png,1,not a path,not one either,4\n',
    'a.png': 'a',
    "o'clock/a.png": 'b',
  })
  await repo.updateConfig((c) => ({
    ...c,
    tables: [
      declaration({ name: nasty }),
      declaration({ name: 'clock', pathRoot: "o'clock" }),
      declaration({ name: 'Files' }),
      declaration({ name: 'key', key: `id" or true --` }),
      declaration({ name: 'clock_files' }),
    ],
  }))
  const session = await openTables(ctx, repo, 'stage')
  t.after(() => session.close())
  const names = session.tables.map((table) => table.declaration.name)
  assert.deepEqual(names, [nasty, 'clock'])
  assert.deepEqual((await session.query('select count(*) from files')).rows, [[3]])
  assert.deepEqual((await session.query('select name, path, folder from clock_files')).rows, [
    ['a.png', 'not a path', "o'clock"],
  ])
  assert.throws(() => session.table('Files'), { code: 'TABLE_INVALID' })
  assert.throws(() => session.table('key'), { code: 'COLUMN_UNKNOWN' })
})

test('bytes that are no table are refused with the reason', async (t) => {
  const { ctx, repo, add } = await workRepo(t, 'sql')
  const files = {
    'nul.csv': Buffer.from([0, 1, 2, 3, 0, 10, 0, 10]),
    'bomb.csv.gz': Buffer.from('1f8b0800000000000003', 'hex'),
    'no.parquet': Buffer.from('PAR1 and then nothing PAR1'),
    'wide.csv': `${','.repeat(6000)}\n`,
  }
  await add(files)
  await repo.updateConfig((c) => ({
    ...c,
    tables: Object.keys(files).map((path, i) => declaration({ name: `t${i}`, path })),
  }))
  const session = await openTables(ctx, repo, 'stage')
  t.after(() => session.close())
  assert.deepEqual(session.tables, [])
  for (let i = 0; i < 4; i++)
    assert.throws(() => session.table(`t${i}`), /CxvError: .*(cannot be read|no column)/)
})
