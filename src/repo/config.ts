import { join } from 'node:path'
import { CxvError, isRecord, nearest, parseJsonBytes, prettyJsonBytes } from '../base/index.ts'
import type { TableDeclaration } from '../format/index.ts'
import { readFileIfAny, writeFileAtomic } from '../io/index.ts'
import type { RemoteConfig, RepoConfig } from './types.ts'

export const EMPTY_CONFIG: RepoConfig = { version: 1, remotes: {}, tables: [], defaults: {} }
const KEYS = ['version', 'remotes', 'tables', 'defaults', 'partial'] as const
const MAX_BYTES = 1 << 20
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

const configPath = (folder: string): string => join(folder, 'config.json')

/** @throws CxvError CONFIG_INVALID, REPO_FORMAT */
export async function readConfig(folder: string): Promise<RepoConfig> {
  const path = configPath(folder)
  const bytes = await readFileIfAny(path, MAX_BYTES)
  if (bytes === undefined) {
    throw new CxvError('CONFIG_INVALID', `${path} is missing`, {
      hint: 'the folder is no whole cxv repository: clone it again, or restore the file',
    })
  }
  let value: unknown
  try {
    value = parseJsonBytes(bytes)
  } catch (cause) {
    throw invalid(path, 'it is not JSON', cause)
  }
  return decodeConfig(value, path)
}

export function writeConfig(folder: string, config: RepoConfig): void {
  writeFileAtomic(configPath(folder), prettyJsonBytes(config))
}

/** A cloned repository may hold anything: every key and value is looked at. */
export function decodeConfig(value: unknown, path: string): RepoConfig {
  if (!isRecord(value)) throw invalid(path, 'it is not an object')
  const { version, remotes, tables, defaults, partial } = value
  if (typeof version === 'number' && version > 1) {
    throw new CxvError('REPO_FORMAT', `${path} has version ${version}; this cxv knows 1`, {
      hint: 'update cxv',
      data: { path, version },
    })
  }
  if (version !== 1) throw invalid(path, 'version must be 1')
  checkKeys(value, KEYS, path, '')
  if (!isRecord(remotes)) throw invalid(path, 'remotes must be an object')
  if (!Array.isArray(tables)) throw invalid(path, 'tables must be a list')
  if (!isRecord(defaults)) throw invalid(path, 'defaults must be an object')
  if (partial !== undefined && typeof partial !== 'boolean')
    throw invalid(path, 'partial must be true or false')
  checkKeys(defaults, ['remote', 'engine'], path, 'defaults.')
  const text = (key: 'remote' | 'engine'): string | undefined => {
    const found = defaults[key]
    if (found !== undefined && typeof found !== 'string')
      throw invalid(path, `defaults.${key} must be text`)
    return found
  }
  const remote = text('remote')
  const engine = text('engine')
  return {
    version: 1,
    remotes: Object.fromEntries(
      Object.entries(remotes).map(([name, entry]) => [name, decodeRemote(name, entry, path)]),
    ),
    tables: tables.map((entry: unknown) => decodeTable(entry, path)),
    defaults: {
      ...(remote === undefined ? {} : { remote }),
      ...(engine === undefined ? {} : { engine }),
    },
    ...(partial === true ? { partial } : {}),
  }
}

function decodeRemote(name: string, entry: unknown, path: string): RemoteConfig {
  if (!NAME.test(name)) throw invalid(path, `"${name}" is no name for a remote`)
  if (!isRecord(entry)) throw invalid(path, `remotes.${name} must be an object`)
  checkKeys(entry, ['url'], path, `remotes.${name}.`)
  if (typeof entry['url'] !== 'string') throw invalid(path, `remotes.${name}.url must be text`)
  return { url: entry['url'] }
}

function decodeTable(entry: unknown, path: string): TableDeclaration {
  if (!isRecord(entry)) throw invalid(path, 'a table must be an object')
  checkKeys(entry, ['name', 'path', 'key', 'match', 'pathRoot'], path, 'tables[].')
  const { name, path: tablePath, key, match, pathRoot } = entry
  if (typeof name !== 'string' || typeof tablePath !== 'string' || typeof key !== 'string') {
    throw invalid(path, 'a table needs name, path and key')
  }
  if (match !== 'root' && match !== 'basename' && match !== 'none') {
    throw invalid(path, `tables.${name}.match must be root, basename or none`)
  }
  return {
    name,
    path: tablePath,
    key,
    match,
    pathRoot: typeof pathRoot === 'string' ? pathRoot : '',
  }
}

function checkKeys(
  value: Readonly<Record<string, unknown>>,
  known: readonly string[],
  path: string,
  prefix: string,
): void {
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue
    const near = nearest(key, known)
    throw invalid(
      path,
      `${prefix}${key} is unknown${near === undefined ? '' : `; did you mean ${prefix}${near}?`}`,
    )
  }
}

const invalid = (path: string, why: string, cause?: unknown): CxvError =>
  new CxvError('CONFIG_INVALID', `${path}: ${why}`, { hint: `correct ${path}`, cause })
