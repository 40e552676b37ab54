import { CxvError } from '../base/index.ts'

const PART = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/
const PREFIX = /^(?:[A-Za-z0-9_-][A-Za-z0-9._-]*\/)*(?:[A-Za-z0-9_-][A-Za-z0-9._-]*)?$/
const MAX_LENGTH = 512

/** Names that begin with a dot are the backend's own (temporaries, locks). */
export const isKey = (key: string): boolean =>
  key.length <= MAX_LENGTH && key.split('/').every((part) => PART.test(part))

/** @throws Error for a key that we should never have made */
export function checkKey(key: string): void {
  if (!isKey(key))
    throw new CxvError('REMOTE_INVALID', `not a key of a remote: ${key.slice(0, 80)}`)
}

/** The beginning of a key, cut anywhere; `` is every key. */
export function checkPrefix(prefix: string): void {
  if (prefix.length > MAX_LENGTH || !PREFIX.test(prefix)) {
    throw new CxvError('REMOTE_INVALID', `not the beginning of a key: ${prefix.slice(0, 80)}`)
  }
}
