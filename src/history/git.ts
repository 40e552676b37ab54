import { readFileIfAny, namesIn, lstatIfAny } from '../io/index.ts'
import {
  damaged,
  type GitObject,
  MAX_OBJECT_BYTES,
  type ObjectType,
  type Oid,
} from './git-objects.ts'

// The one door of isomorphic-git (57 ms to load, so on demand). It reads what only git itself writes:
// deltas, after somebody ran `git gc` on the history. docs/decisions/0004 says why the rest is ours.

const refuse = (): Promise<never> => Promise.reject(new Error('the history is read only here'))

async function readBytes(path: string): Promise<Uint8Array> {
  const bytes = await readFileIfAny(path)
  if (bytes === undefined) throw Object.assign(new Error(`absent: ${path}`), { code: 'ENOENT' })
  return bytes
}

function statPath(path: string): Promise<unknown> {
  const stat = lstatIfAny(path)
  return stat === undefined
    ? Promise.reject(Object.assign(new Error(`absent: ${path}`), { code: 'ENOENT' }))
    : Promise.resolve(stat)
}

const readOnlyFs = {
  promises: {
    readFile: readBytes,
    readdir: (path: string) => Promise.resolve(namesIn(path)),
    stat: statPath,
    lstat: statPath,
    writeFile: refuse,
    unlink: refuse,
    mkdir: refuse,
    rmdir: refuse,
    readlink: refuse,
    symlink: refuse,
  },
}

/**
 * Reads objects that git stored as deltas. The caller has checked the sizes in their chains. Keeps the
 * packs it has read: deltas come from `git gc`, which makes one.
 */
export function createDeltaReader(folder: string): (oid: Oid) => Promise<GitObject> {
  const cache = {}
  return async (oid) => {
    const git = await import('isomorphic-git')
    try {
      const { type, object } = await git.readObject({
        fs: readOnlyFs,
        gitdir: folder,
        oid,
        format: 'content',
        cache,
      })
      const bytes: unknown = object
      if (!(bytes instanceof Uint8Array) || bytes.length > MAX_OBJECT_BYTES) {
        throw new Error('not an object of the history')
      }
      return { type: type as ObjectType, bytes }
    } catch (cause) {
      throw damaged(`object ${oid} of the history cannot be read`, cause)
    }
  }
}
