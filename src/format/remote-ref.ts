import {
  type CommitId,
  CxvError,
  isCommitId,
  isRecord,
  parseJsonBytes,
  prettyJsonBytes,
  toHex,
  utf8,
} from '../base/index.ts'

/** A ref as it stands on a remote. docs/format.md#remote-layout */
export interface RemoteRef {
  readonly commit: CommitId
  /** Counts the moves of this ref from 1. */
  readonly seq: number
  /** Names the push that moved it: 32 hex digits. A push that lost its answer finds itself here. */
  readonly pushId: string
  readonly prev: CommitId | null
}

export interface RemoteFormat {
  readonly format: 1
  /** The branch that a clone checks out: the one first pushed. */
  readonly head: string
}

export const REMOTE_REF_MAX_BYTES = 4096

/** So that its key, at most three characters a byte, is no longer than a key may be. */
const REF_NAME_MAX_BYTES = 160

const PUSH_ID = /^[0-9a-f]{32}$/

export const encodeRemoteRef = (ref: RemoteRef): Uint8Array => prettyJsonBytes(ref)

/** @throws CxvError FORMAT_INVALID */
export function decodeRemoteRef(bytes: Uint8Array): RemoteRef {
  const value = jsonRecord(bytes, 'ref')
  const { commit, seq, pushId, prev } = value
  if (
    typeof commit === 'string' &&
    isCommitId(commit) &&
    typeof seq === 'number' &&
    Number.isSafeInteger(seq) &&
    seq > 0 &&
    typeof pushId === 'string' &&
    PUSH_ID.test(pushId) &&
    (prev === null || (typeof prev === 'string' && isCommitId(prev)))
  ) {
    return { commit, seq, pushId, prev }
  }
  throw new CxvError('FORMAT_INVALID', 'a ref of the remote is not what it should be')
}

export const encodeRemoteFormat = (format: RemoteFormat): Uint8Array => prettyJsonBytes(format)

/** @throws CxvError FORMAT_INVALID; REPO_FORMAT for a format this version does not know */
export function decodeRemoteFormat(bytes: Uint8Array): RemoteFormat {
  const value = jsonRecord(bytes, 'cxv-remote.json')
  const { format, head } = value
  if (typeof format === 'number' && format !== 1) {
    throw new CxvError('REPO_FORMAT', `the remote has format ${format}; this cxv knows format 1`, {
      hint: 'install a newer cxv',
    })
  }
  if (format !== 1 || typeof head !== 'string' || !isPlainRefName(head)) {
    throw new CxvError('FORMAT_INVALID', 'cxv-remote.json is not what it should be')
  }
  return { format, head }
}

function jsonRecord(bytes: Uint8Array, what: string): Readonly<Record<string, unknown>> {
  if (bytes.length > REMOTE_REF_MAX_BYTES) {
    throw new CxvError('FORMAT_INVALID', `${what} has ${bytes.length} bytes`)
  }
  try {
    const value = parseJsonBytes(bytes)
    if (isRecord(value)) return value
  } catch (cause) {
    throw new CxvError('FORMAT_INVALID', `${what} is not JSON`, { cause })
  }
  throw new CxvError('FORMAT_INVALID', `${what} is not a JSON object`)
}

/** git's rules for a full ref name (git check-ref-format), and no control or bidirectional characters. */
export function isPlainRefName(name: string): boolean {
  if (!name.startsWith('refs/') || utf8(name).length > REF_NAME_MAX_BYTES) return false
  if (/\p{Surrogate}/u.test(name)) return false
  if (/[\u0000-\u0020\u007f-\u009f\u202a-\u202e\u2066-\u2069~^:?*[\\]|\.\.|@\{/.test(name))
    return false
  return name
    .split('/')
    .every((p) => p !== '' && !p.startsWith('.') && !p.endsWith('.') && !p.endsWith('.lock'))
}

/**
 * A ref name as a backend key: bytes outside `[A-Za-z0-9.-]` become `_` and two hex digits, `_` itself
 * becomes `__`. One key for one name.
 */
export function refKey(name: string): string {
  let key = ''
  for (const byte of utf8(name)) {
    const char = String.fromCharCode(byte)
    if (/[A-Za-z0-9./-]/.test(char)) key += char
    else key += char === '_' ? '__' : `_${toHex(Uint8Array.of(byte))}`
  }
  return key
}

/** A key is a path in a remote that is a folder: no file system takes longer names. */
const KEY_PART_MAX_BYTES = 255

/** Why a ref of this name could not be pushed to any remote, or undefined when it can. */
export function pushedNameProblem(name: string): string | undefined {
  const length = utf8(name).length
  if (length > REF_NAME_MAX_BYTES) {
    return `${name.split('/', 2).join('/')}/ and it are ${length} bytes, and a remote takes ${REF_NAME_MAX_BYTES}`
  }
  if (!isPlainRefName(name)) return 'it has a character that no remote takes'
  if (
    refKey(name)
      .split('/')
      .some((part) => part.length > KEY_PART_MAX_BYTES)
  ) {
    return `a part of it has over ${KEY_PART_MAX_BYTES} characters as a remote writes it: three for each byte of a letter outside A to Z`
  }
  return undefined
}

/** The ref name of a key, or undefined when no valid name has this key. */
export function refNameOfKey(key: string): string | undefined {
  const encoded = key.replace(/_(?:(_)|([0-9a-f]{2}))/g, (_all, same?: string, hex?: string) =>
    same === undefined ? `%${hex}` : '_',
  )
  let name: string
  try {
    name = decodeURIComponent(encoded)
  } catch {
    return undefined
  }
  return isPlainRefName(name) && refKey(name) === key ? name : undefined
}
