import type { Document, LineCounter, Node, YAMLMap } from 'yaml'
import { CxvError, fromUtf8, isRecord, plural } from '../base/index.ts'
import {
  didYouMean,
  dotted,
  type Path,
  schemaProblems,
  type TrainProblem,
} from './train-problems.ts'
import { crossFieldProblems } from './train-rules.ts'
import { camel, OP_DEFAULTS, type SchemaNode, TRAIN_SCHEMA } from './train-schema.ts'
import type { TrainConfig } from './types.ts'

/** Larger is no configuration. */
const MAX_BYTES = 1 << 20
/** Repeated parts by `*name`: few are needed, many multiply into gigabytes ("billion laughs"). */
const MAX_ALIASES = 20
const MAX_SHOWN = 50

export interface TrainConfigSource {
  /** `a.b=value` each, read as YAML, laid over the file in order. */
  readonly sets?: readonly string[]
  /** How messages name the file. */
  readonly file?: string
}

/**
 * Reads train.yaml (YAML 1.2 core, at most 1 MiB), lays the sets over it, checks it against the
 * published schema and the rules between keys, and fills in every default.
 * @throws {TRAIN_CONFIG_INVALID} with all problems at once, in `data.problems`
 */
export async function parseTrainConfig(
  source: Uint8Array | string,
  { sets = [], file = 'train.yaml' }: TrainConfigSource = {},
): Promise<TrainConfig> {
  const yaml = await import('yaml')
  const lines = new yaml.LineCounter()
  const read = readYaml(yaml, source, lines)
  if ('problems' in read) throw invalid(file, read.problems)
  const { value } = read
  const problems: TrainProblem[] = []
  const from = new Map<string, string>()
  for (const set of sets) {
    const problem = applySet(yaml, value, set, from)
    if (problem !== undefined) problems.push(problem)
  }
  const locate = (path: Path, key = false): Pick<TrainProblem, 'line'> => {
    for (let n = path.length; n > 0; n--) if (from.has(dotted(path.slice(0, n)))) return {}
    const line = lineOf(yaml, read.document, lines, path, key)
    return line === undefined ? {} : { line }
  }
  const given = structuredClone(value)
  fillConditional(value)
  const { Ajv } = await import('ajv')
  // Not `allErrors` without bounds: the file is at most 1 MiB and every list has a `maxItems`.
  const ajv = new Ajv({
    allErrors: true,
    verbose: true,
    useDefaults: true,
    discriminator: true,
    strict: true,
    strictRequired: false,
  })
  const validate = ajv.compile<unknown>(TRAIN_SCHEMA)
  if (!validate(value)) problems.push(...schemaProblems(validate.errors ?? [], locate))
  if (problems.length === 0) {
    const config = toConfig(value)
    const crossed = crossFieldProblems(config, (path) => valueAt(given, path) !== undefined)
    if (crossed.length === 0) return config
    for (const { path, message } of crossed) {
      problems.push({ path: dotted(path), message, ...locate(path) })
    }
  }
  throw invalid(file, problems)
}

function invalid(file: string, found: readonly TrainProblem[]): CxvError {
  const problems = [...found].sort((a, b) => (a.line ?? 0) - (b.line ?? 0))
  const [only] = problems
  const where = (p: TrainProblem): string => (p.line === undefined ? '' : `line ${p.line}: `)
  const message =
    problems.length === 1 && only !== undefined
      ? `${file}: ${where(only)}${only.message}`
      : [
          `${file} has ${plural(problems.length, 'problem')}:`,
          ...problems.slice(0, MAX_SHOWN).map((p) => `  ${where(p)}${p.message}`),
          ...(problems.length > MAX_SHOWN ? [`  and ${problems.length - MAX_SHOWN} more`] : []),
        ].join('\n')
  return new CxvError('TRAIN_CONFIG_INVALID', message, {
    hint: 'every key is explained in docs/train-yaml.md; `cxv run train.yaml --dry-run` shows what a file resolves to',
    data: { file, problems: problems.slice(0, MAX_SHOWN) },
  })
}

type Yaml = typeof import('yaml')
type Read =
  | { readonly problems: readonly TrainProblem[] }
  | { readonly value: Record<string, unknown>; readonly document: Document }

function readYaml(yaml: Yaml, source: Uint8Array | string, lines: LineCounter): Read {
  const fail = (message: string, line?: number): Read => ({
    problems: [{ path: '', message, ...(line === undefined ? {} : { line }) }],
  })
  const bytes = typeof source === 'string' ? Buffer.byteLength(source) : source.length
  if (bytes > MAX_BYTES) return fail(`it has ${bytes} bytes; at most ${MAX_BYTES} are read`)
  let document: Document
  let value: unknown
  try {
    const content = typeof source === 'string' ? source : fromUtf8(source)
    document = yaml.parseDocument(content, {
      version: '1.2',
      schema: 'core',
      merge: false,
      uniqueKeys: true,
      lineCounter: lines,
      prettyErrors: false,
    })
    const faults = [...document.errors, ...document.warnings]
    if (faults.length > 0) {
      return {
        problems: faults.slice(0, MAX_SHOWN).map((fault) => ({
          path: '',
          message: `it is not YAML: ${fault.message}`,
          line: lines.linePos(fault.pos[0]).line,
        })),
      }
    }
    value = document.toJS({ maxAliasCount: MAX_ALIASES })
  } catch (error) {
    // Deep nesting ends in a RangeError, too many aliases in a ReferenceError, other bytes in a TypeError.
    if (
      error instanceof RangeError ||
      error instanceof ReferenceError ||
      error instanceof TypeError
    ) {
      return fail(`it cannot be read: ${error.message}`)
    }
    throw error
  }
  if (value === null || value === undefined) return fail('it is empty', 1)
  if (!isRecord(value)) return fail('it must be keys and values', 1)
  return { value: { ...value }, document }
}

/** Lays one `a.b=value` over the object. Walks the schema, so no key but a known one is ever written. */
function applySet(
  yaml: Yaml,
  target: Record<string, unknown>,
  set: string,
  from: Map<string, string>,
): TrainProblem | undefined {
  const at = set.indexOf('=')
  const path = at < 0 ? set : set.slice(0, at).trim()
  if (at < 1) return { path, message: `--set ${set} must be KEY=VALUE, as --set train.epochs=3` }
  const keys = path.split('.')
  let node: Record<string, unknown> = target
  let schema: SchemaNode = TRAIN_SCHEMA
  for (const [i, key] of keys.entries()) {
    const known = schema.properties ?? {}
    const child = Object.hasOwn(known, key) ? known[key] : undefined
    if (child === undefined) {
      return {
        path,
        message: `--set ${path} is unknown${didYouMean(keys.slice(0, i), keys.slice(i).join('.'))}`,
      }
    }
    schema = child
    if (i === keys.length - 1) {
      const text = set.slice(at + 1).trim()
      let value: unknown
      try {
        value = yaml.parse(text, { schema: 'core', maxAliasCount: 0 })
      } catch (error) {
        if (child.type !== 'string') {
          const [why] = (error as Error).message.split('\n')
          return { path, message: `--set ${path}: not a YAML value: ${why ?? ''}` }
        }
      }
      // Text needs no quotes of YAML's: `--set data.where="Patient ID" < 20`, `--set name=7`, `--set data.where=`.
      // Without them it is taken as it is: YAML would end `name = 'a #1.png'` at the `#`.
      const quoted = typeof value === 'string' && /^["']/.test(text)
      node[key] = child.type === 'string' && !quoted ? text : value
      from.set(path, set)
      return undefined
    }
    const next = Object.hasOwn(node, key) ? node[key] : undefined
    const copy: Record<string, unknown> = isRecord(next) ? { ...next } : {}
    node[key] = copy
    node = copy
  }
  return undefined
}

const isSide = (size: unknown): size is number =>
  Number.isInteger(size) && Number(size) >= 16 && Number(size) <= 1024

function preset(section: Record<string, unknown> | undefined, key: string, value: unknown): void {
  if (section && section[key] === undefined) section[key] = value
}

/** Defaults that depend on another key; the schema's own are filled in by the validator. */
function fillConditional(value: Record<string, unknown>): void {
  const section = (key: string): Record<string, unknown> | undefined => {
    if (value[key] === undefined) value[key] = {}
    const found = value[key]
    if (!isRecord(found)) return undefined
    const copy: Record<string, unknown> = { ...found }
    value[key] = copy
    return copy
  }
  const multiclass = value['task'] === 'multiclass'
  const policy = section('label_policy')
  preset(policy, 'normal_as', multiclass ? 'own_class' : 'all_zero')
  const loss = section('loss')
  preset(loss, 'name', multiclass ? 'categorical_ce' : 'bce')
  const optimizer = section('optimizer')
  preset(optimizer, 'lr', optimizer?.['name'] === 'sgd' ? 0.01 : 0.001)
  const image = section('image')
  if (image && isSide(image['size'])) image['size'] = [image['size'], image['size']]
  const augment = section('augment')
  if (augment && Array.isArray(augment['ops'])) {
    augment['ops'] = augment['ops'].map((item: unknown) =>
      isRecord(item) && typeof item['op'] === 'string' && Object.hasOwn(OP_DEFAULTS, item['op'])
        ? { ...OP_DEFAULTS[item['op'] as keyof typeof OP_DEFAULTS], ...item }
        : item,
    )
  }
}

function valueAt(value: unknown, path: Path): unknown {
  let found = value
  for (const key of path) {
    if (!isRecord(found) || !Object.hasOwn(found, key)) return undefined
    found = found[key]
  }
  return found
}

/** The line of the value (or of its key), or of the nearest thing around it. */
function lineOf(
  yaml: Yaml,
  document: Document,
  lines: LineCounter,
  path: Path,
  key: boolean,
): number | undefined {
  let node: unknown = document.contents
  let at: number | undefined
  for (const [i, part] of path.entries()) {
    if (yaml.isAlias(node)) node = node.resolve(document)
    if (yaml.isSeq(node) && typeof part === 'number') {
      node = node.items[part]
    } else if (yaml.isMap(node)) {
      const pair = (node as YAMLMap<Node, unknown>).items.find(
        (item) => yaml.isScalar(item.key) && String(item.key.value) === String(part),
      )
      if (pair === undefined) break
      at = pair.key.range?.[0] ?? at
      if (key && i === path.length - 1) break
      node = pair.value
    } else break
    if (yaml.isNode(node) && yaml.isScalar(node)) at = node.range?.[0] ?? at
  }
  return at === undefined ? undefined : lines.linePos(at).line
}

/** Only for values that the schema accepted: their keys are its keys. */
function camelKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelKeys)
  if (!isRecord(value)) return value
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [camel(k), camelKeys(v)]))
}

// The schema has checked every key and type; a test holds the schema's keys and the type's equal.
const toConfig = (value: unknown): TrainConfig => camelKeys(ordered(value)) as TrainConfig

/** The same value with its keys in the order of the schema. */
function ordered(value: unknown, schema: SchemaNode = TRAIN_SCHEMA): unknown {
  if (!isRecord(value) || schema.properties === undefined) return value
  return Object.fromEntries(
    Object.entries(schema.properties)
      .filter(([key]) => value[key] !== undefined)
      .map(([key, child]) => [key, ordered(value[key], child)]),
  )
}
