import { CxvError } from '../base/index.ts'
import { pushedNameProblem } from '../format/index.ts'

/** git-check-ref-format(1), and what a file system needs: no part over 200 bytes. */
export function refNameProblem(name: string): string | undefined {
  if (!name.startsWith('refs/') || name.split('/').length < 3) return 'is not under refs/'
  if (/[\u0000-\u0020\u007f~^:?*[\\]/.test(name)) return 'has a space or one of ~ ^ : ? * [ \\'
  if (/\p{Surrogate}/u.test(name)) return 'is not valid Unicode'
  if (name.includes('..')) return 'has `..`'
  if (name.includes('@{') || name.endsWith('/@')) return 'has `@{`, or a part `@`'
  if (name.endsWith('.')) return 'ends in a dot'
  for (const part of name.split('/')) {
    if (part === '') return 'has an empty part'
    if (part.startsWith('.')) return 'has a part that begins with a dot'
    if (part.endsWith('.lock')) return 'has a part that ends in .lock'
    if (Buffer.byteLength(part) > 200) return 'has a part over 200 bytes'
  }
  return Buffer.byteLength(name) > 1000 ? 'is longer than 1000 bytes' : undefined
}

/** @throws REF_INVALID */
export function checkRefName(name: string): void {
  const problem = refNameProblem(name)
  if (problem !== undefined) {
    throw new CxvError('REF_INVALID', `${shortRefName(name)} cannot be a name: it ${problem}`, {
      hint: 'use letters, digits, `-`, `_`, `.` and `/`',
      data: { name },
    })
  }
}

/**
 * The full name of a branch or a tag that a user named.
 * @throws REF_INVALID as `git branch` and `git tag` would: also names that read as an option or as HEAD
 */
export function fullRefName(kind: 'heads' | 'tags', name: string): string {
  const full = `refs/${kind}/${name}`
  if (name.startsWith('-') || name === 'HEAD' || name === '@') {
    throw new CxvError(
      'REF_INVALID',
      `${name} cannot be a name: it would be read as something else`,
      { hint: 'choose another name', data: { name } },
    )
  }
  checkRefName(full)
  return full
}

/**
 * The same for a name that is to be made: also one that could never be pushed is refused, while there is
 * nothing yet to rename.
 * @throws REF_INVALID
 */
export function newRefName(kind: 'heads' | 'tags', name: string): string {
  const full = fullRefName(kind, name)
  const problem = pushedNameProblem(full)
  if (problem !== undefined) {
    throw new CxvError('REF_INVALID', `${name} could never be pushed: ${problem}`, {
      hint: 'choose a shorter name of letters, digits, `-`, `_`, `.` and `/`',
      data: { name },
    })
  }
  return full
}

/** `main` of refs/heads/main, `v1` of refs/tags/v1, `origin/main` of refs/remotes/origin/main. */
export const shortRefName = (name: string): string =>
  name.replace(/^refs\/(?:heads|tags|remotes|runs)\//, '')
