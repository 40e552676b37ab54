import type { ErrorObject } from 'ajv'
import { nearest } from '../base/index.ts'
import { OP_DEFAULTS, type SchemaNode, TRAIN_SCHEMA } from './train-schema.ts'

export type Path = readonly (string | number)[]

export interface TrainProblem {
  /** Dotted: `data.label.column`, `augment.ops[2].p`; empty: the file as a whole. */
  readonly path: string
  /** Line in the file; undefined: it came from `--set`, or from no line at all. */
  readonly line?: number
  readonly message: string
}

/** What the validator found, in words. @param locate the line of a value, or of its key */
export function schemaProblems(
  errors: readonly ErrorObject[],
  locate: (path: Path, key?: boolean) => Pick<TrainProblem, 'line'>,
): TrainProblem[] {
  const found = new Map<string, TrainProblem>()
  const put = (path: Path, message: string, key = false): void => {
    const name = dotted(path)
    if (!found.has(name)) found.set(name, { path: name, message, ...locate(path, key) })
  }
  for (const error of errors) {
    // The branches of a choice are told by the choice itself.
    if (error.schemaPath.includes('/anyOf/')) continue
    const path = pointerPath(error.instancePath)
    const params: Readonly<Record<string, unknown>> = error.params
    const schema = error.parentSchema as SchemaNode
    if (error.keyword === 'additionalProperties') {
      const key = String(params['additionalProperty'])
      const full = [...path, key]
      put(full, `${dotted(full)} is unknown${didYouMean(path, key, schema)}`, true)
    } else if (error.keyword === 'required') {
      const full = [...path, String(params['missingProperty'])]
      const child = schema.properties?.[String(params['missingProperty'])]
      put(full, `${dotted(full)} is missing${child?.description ? ` (${child.description})` : ''}`)
    } else if (error.keyword === 'discriminator') {
      const names = Object.keys(OP_DEFAULTS)
      const full = [...path, 'op']
      const value = params['tagValue']
      const near = typeof value === 'string' ? nearest(value, names) : undefined
      put(
        full,
        `${dotted(full)} must be one of ${names.join(', ')}; it is ${shown(value)}${near === undefined ? '' : `; did you mean ${near}?`}`,
      )
    } else {
      put(path, `${dotted(path) || 'the file'} ${expectation(schema, error.data)}`)
    }
  }
  return [...found.values()]
}

/** `must be a number above 0, at most 10; it is "fast"` */
function expectation(schema: SchemaNode, value: unknown): string {
  let advice = ''
  const wantsText = schema.type === 'string'
  if (wantsText && (typeof value === 'number' || typeof value === 'boolean')) {
    advice = `; put it in quotes: "${String(value)}"`
  } else if (!wantsText && typeof value === 'string' && /^-?[0-9.]+(e[+-]?\d+)?$/i.test(value)) {
    advice = '; leave out the quotes'
  } else if (typeof value === 'string') {
    const near = nearest(
      value,
      (schema.enum ?? []).map((v) => String(v)),
    )
    if (near !== undefined) advice = `; did you mean ${near}?`
  }
  return `must be ${described(schema)}; it is ${shown(value)}${advice}`
}

function described(schema: SchemaNode): string {
  if (schema.anyOf) return schema.anyOf.map(described).join(', or ')
  if (schema.enum)
    return schema.enum.length === 1 ? String(schema.enum[0]) : `one of ${schema.enum.join(', ')}`
  switch (schema.type) {
    case 'integer':
    case 'number':
      return `${schema.type === 'integer' ? 'a whole number' : 'a number'}${bounds(schema)}`
    case 'boolean':
      return 'true or false'
    case 'array': {
      const { minItems = 0, maxItems } = schema
      const count = minItems === maxItems ? `${minItems} entries` : 'entries'
      const each = schema.items?.type === 'string' ? 'text' : described(schema.items ?? {})
      return `a list of ${count}${schema.uniqueItems ? ' without repeats' : ''}, each ${each}`
    }
    case 'object':
      return 'keys and values'
    case 'string':
      return schema.minLength === undefined ? 'one line of text' : 'one line of text, not empty'
    default:
      return 'something else'
  }
}

function bounds(schema: SchemaNode): string {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = schema
  const low =
    minimum !== undefined
      ? ` of at least ${minimum}`
      : exclusiveMinimum !== undefined
        ? ` above ${exclusiveMinimum}`
        : ''
  const high =
    maximum !== undefined
      ? ` and at most ${maximum}`
      : exclusiveMaximum !== undefined
        ? ` and below ${exclusiveMaximum}`
        : ''
  return low + high
}

function shown(value: unknown): string {
  if (value === undefined) return 'absent'
  if (typeof value === 'number') return String(value)
  const text = JSON.stringify(value)
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

/** The nearest sibling, or the same key in another place of the schema. */
export function didYouMean(parent: Path, key: string, schema: SchemaNode = nodeAt(parent)): string {
  const sibling = nearest(key, Object.keys(schema.properties ?? {}))
  const near =
    sibling === undefined
      ? nearestPath(dotted([...parent, key]), key)
      : dotted([...parent, sibling])
  return near === undefined ? '' : `; did you mean ${near}?`
}

function nearestPath(full: string, key: string): string | undefined {
  const paths = keyPaths()
  const last = (path: string): string => path.split('.').at(-1) ?? path
  const word = last(key)
  // Two letters are near to everything.
  const leaf = word.length < 2 || !/[a-z]/i.test(word) ? undefined : nearest(word, paths.map(last))
  return paths.find((path) => last(path) === leaf) ?? nearest(full, paths)
}

function nodeAt(path: Path): SchemaNode {
  let node: SchemaNode = TRAIN_SCHEMA
  for (const key of path) {
    const known = node.properties ?? {}
    node =
      typeof key === 'string' && Object.hasOwn(known, key) ? (known[key] ?? {}) : (node.items ?? {})
  }
  return node
}

/** Every key of train.yaml that holds a value, dotted, in the order of the schema. */
export function keyPaths(schema: SchemaNode = TRAIN_SCHEMA, prefix = ''): readonly string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, child]) =>
    child.properties === undefined ? [`${prefix}${key}`] : keyPaths(child, `${prefix}${key}.`),
  )
}

export const dotted = (path: Path): string =>
  path.reduce<string>(
    (text, key) =>
      typeof key === 'number' ? `${text}[${key}]` : text === '' ? key : `${text}.${key}`,
    '',
  )

/** A JSON pointer's parts; numbers are places in a list (no key of the schema is a number). */
const pointerPath = (pointer: string): Path =>
  pointer
    .split('/')
    .slice(1)
    .map((part) =>
      /^\d+$/.test(part) ? Number(part) : part.replaceAll('~1', '/').replaceAll('~0', '~'),
    )
