import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { isRecord, parseJson } from '../../src/base/index.ts'
import { encodeTrainConfig, parseTrainConfig } from '../../src/format/index.ts'
import { keyPaths } from '../../src/format/train-problems.ts'
import { type SchemaNode, TRAIN_SCHEMA } from '../../src/format/train-schema.ts'

// `UPDATE_DOCS=1` writes the schema's file and the table of keys instead of comparing them.
const update = process.env['UPDATE_DOCS'] === '1'
const SCHEMA_FILE = 'docs/train.schema.json'
const DOC = 'docs/train-yaml.md'
const MARK = /(<!-- keys -->\n)[\s\S]*?(\n<!-- end -->)/

const REQUIRED = ['version', 'task', 'data.table', 'data.label.column', 'data.group']

function nodeOf(path: string): SchemaNode {
  let node = TRAIN_SCHEMA
  for (const key of path.split('.')) node = node.properties?.[key] ?? {}
  return node
}

function typeOf(node: SchemaNode): string {
  if (node.anyOf) return node.anyOf.map(typeOf).join(' or ')
  if (node.enum) return node.enum.map((v) => `\`${v}\``).join(', ')
  if (node.items?.oneOf) return 'list of operations'
  if (node.items) {
    const many = node.minItems !== undefined && node.minItems === node.maxItems
    return `${many ? `${node.minItems} × ` : 'list of '}${typeOf(node.items)}`
  }
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = node
  const low = minimum ?? (exclusiveMinimum === undefined ? undefined : `above ${exclusiveMinimum}`)
  const high = maximum ?? (exclusiveMaximum === undefined ? undefined : `below ${exclusiveMaximum}`)
  const range = low === undefined ? '' : `, ${low} to ${high ?? ''}`
  return `${node.type === 'integer' ? 'whole number' : node.type === 'string' ? 'text' : (node.type ?? '')}${range}`
}

function defaultOf(path: string, node: SchemaNode): string {
  if (REQUIRED.includes(path)) return '**required**'
  if (path === 'augment.ops') return 'all five'
  if (node.default === undefined) return 'see text'
  return `\`${JSON.stringify(node.default).replaceAll('|', '\\|')}\``
}

const rows = (): string[] =>
  keyPaths().map((path) => {
    const node = nodeOf(path)
    return `| \`${path}\` | ${typeOf(node)} | ${defaultOf(path, node)} | ${node.description ?? ''} |`
  })

test('docs/train.schema.json is the schema that cxv checks with', () => {
  if (update) writeFileSync(SCHEMA_FILE, `${JSON.stringify(TRAIN_SCHEMA, null, 2)}\n`)
  const published = parseJson(readFileSync(SCHEMA_FILE, 'utf8'))
  assert.deepEqual(published, parseJson(JSON.stringify(TRAIN_SCHEMA)))
})

test('docs/train-yaml.md explains every key, with its type and default', () => {
  const doc = readFileSync(DOC, 'utf8')
  const table = ['| key | type | default | what it is |', '|---|---|---|---|', ...rows()].join('\n')
  if (update) writeFileSync(DOC, doc.replace(MARK, `$1\n${table.replaceAll('$', '$$$$')}\n$2`))
  const found = MARK.exec(readFileSync(DOC, 'utf8'))?.[0]
  const written = found?.split('\n').filter((line) => line.startsWith('|'))
  assert.deepEqual(written, table.split('\n'))
})

test('the required keys of the docs are those of the schema', async () => {
  const failed: unknown = await parseTrainConfig('data: {label: {}}').catch((e: unknown) => e)
  assert.ok(failed instanceof Error)
  for (const key of REQUIRED) assert.match(failed.message, new RegExp(`${key} is missing`))
})

test('the worked examples of the docs are valid', async () => {
  const examples = [...readFileSync(DOC, 'utf8').matchAll(/```yaml\n([\s\S]*?)```/g)]
  assert.ok(examples.length >= 2)
  for (const [, text = ''] of examples) {
    const config = await parseTrainConfig(text)
    assert.deepEqual(await parseTrainConfig(encodeTrainConfig(config)), config)
  }
})

test('every key of the schema is in the resolved configuration, and none else', async () => {
  const config = await parseTrainConfig(
    'version: 1\ntask: binary\ndata: { table: t, label: { column: l }, group: g }',
  )
  const camel = (key: string): string =>
    key.replace(/_([a-z])/g, (_all, c: string) => c.toUpperCase())
  const leaves = (value: unknown, schema: SchemaNode, prefix: string): string[] =>
    isRecord(value) && schema.properties
      ? Object.entries(value).flatMap(([key, child]) => {
          const [name, node] =
            Object.entries(schema.properties ?? {}).find(([k]) => camel(k) === key) ?? []
          return leaves(child, node ?? {}, `${prefix}${prefix === '' ? '' : '.'}${name ?? key}`)
        })
      : [prefix]
  assert.deepEqual(leaves(config, TRAIN_SCHEMA, ''), keyPaths())
})
