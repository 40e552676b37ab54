import { isRecord } from '../base/index.ts'
import { idleKeys } from './train-rules.ts'
import { camel, type SchemaNode, TRAIN_SCHEMA } from './train-schema.ts'
import type { TrainConfig } from './types.ts'

/**
 * The configuration as YAML, every key written, in the order of the schema. Keys that do not apply
 * (momentum without sgd, ratios beside a split column) are left out, as the rules ask.
 * `parseTrainConfig` of it gives the same configuration.
 */
export function encodeTrainConfig(config: TrainConfig): string {
  const hidden = new Set([
    ...(config.optimizer.name === 'sgd' ? [] : ['optimizer.momentum']),
    ...(config.loss.name === 'weighted_bce' ? [] : ['loss.pos_weight']),
    ...(config.split.method === 'column' ? ['split.ratios'] : ['split.column', 'split.values']),
    ...(config.task === 'multiclass' ? [] : ['label_policy.multiple']),
    ...idleKeys(config).map(({ key }) => key),
  ])
  return `${mapping(config, TRAIN_SCHEMA, { indent: '', prefix: '', hidden }).join('\n')}\n`
}

interface Place {
  readonly indent: string
  readonly prefix: string
  readonly hidden: ReadonlySet<string>
}

function mapping(value: unknown, schema: SchemaNode, place: Place): string[] {
  const { indent, prefix, hidden } = place
  if (!isRecord(value)) throw new Error(`${prefix} is no mapping`)
  return Object.entries(schema.properties ?? {}).flatMap(([key, child]) => {
    const path = prefix + key
    if (hidden.has(path)) return []
    const own = value[camel(key)]
    if (own === undefined) throw new Error(`the configuration has no ${path}`)
    if (child.properties !== undefined) {
      const inner = { indent: `${indent}  `, prefix: `${path}.`, hidden }
      return [`${indent}${key}:`, ...mapping(own, child, inner)]
    }
    if (Array.isArray(own) && own.some(isRecord)) {
      return [`${indent}${key}:`, ...own.map((item) => `${indent}  - ${flow(item)}`)]
    }
    return [`${indent}${key}: ${flow(own)}`]
  })
}

function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`
  if (isRecord(value)) {
    return `{ ${Object.entries(value)
      .map(([k, v]) => `${k}: ${flow(v)}`)
      .join(', ')} }`
  }
  if (typeof value === 'string') return scalar(value)
  return JSON.stringify(value)
}

// Words that YAML readers of any version take for something else than text.
const RESERVED = /^(?:true|false|null|yes|no|on|off|y|n|nan|inf|~)$/i

/** Plain where every YAML reader agrees that it is text, else quoted as JSON, which YAML 1.2 includes. */
function scalar(text: string): string {
  const plain = /^[A-Za-z_][A-Za-z0-9_./ -]*$/.test(text) && !text.endsWith(' ')
  return plain && !RESERVED.test(text) ? text : JSON.stringify(text)
}
