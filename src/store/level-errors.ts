import { CxvError, systemCode } from '../base/index.ts'
import { fileSystemError } from '../io/index.ts'

/**
 * What a failure of LevelDB means: another process has it, the index is damaged, the disk or its rights
 * are at fault (an error to be shown, with the index left alone), or nothing known.
 */
export type LevelFailure = 'locked' | 'damaged' | CxvError | undefined

/** LevelDB hands on the text of strerror(3), not the number. */
const SYSTEM_TEXTS: readonly (readonly [string, string])[] = [
  ['No space left on device', 'ENOSPC'],
  ['Disk quota exceeded', 'EDQUOT'],
  ['Permission denied', 'EACCES'],
  ['Operation not permitted', 'EPERM'],
  ['Read-only file system', 'EROFS'],
  ['Too many open files in system', 'ENFILE'],
  ['Too many open files', 'EMFILE'],
  ['File name too long', 'ENAMETOOLONG'],
]

const DAMAGE = /corruption|missing files|not an sstable|no such file or directory/i

/** @param path of the index, for the message */
export function levelFailure(error: unknown, path: string): LevelFailure {
  const chain = causes(error)
  const codes = chain.map(systemCode)
  const text = chain.map(({ message }) => message).join('\n')
  if (codes.includes('LEVEL_LOCKED')) return 'locked'
  if (codes.includes('LEVEL_CORRUPTION')) return 'damaged'
  if (!codes.some((code) => code?.startsWith('LEVEL_'))) return undefined
  const known = SYSTEM_TEXTS.find(([says]) => text.includes(says))
  if (known === undefined && DAMAGE.test(text)) return 'damaged'
  if (known === undefined && !codes.includes('LEVEL_IO_ERROR')) return undefined
  const innermost = chain.at(-1)?.message ?? ''
  const system = Object.assign(new Error(innermost, { cause: error }), {
    code: known?.[1] ?? 'EIO',
  })
  const typed = fileSystemError(system, path)
  return typed instanceof CxvError ? typed : undefined
}

function causes(error: unknown): readonly Error[] {
  const chain: Error[] = []
  for (let at = error; at instanceof Error && chain.length < 8; at = at.cause) chain.push(at)
  return chain
}
