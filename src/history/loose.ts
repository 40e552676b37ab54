import { join } from 'node:path'
import { deflateSync, inflateSync } from 'node:zlib'
import { utf8 } from '../base/index.ts'
import { readRangeSync, temporaryBeside, writeFileAtomic } from '../io/index.ts'
import { damaged, type GitObject, MAX_OBJECT_BYTES, type ObjectType } from './git-objects.ts'

const LOOSE_HEADER = /^(commit|tree|blob|tag) (0|[1-9][0-9]{0,9})$/

/** A loose object; not checked against its id. @throws FORMAT_INVALID */
export function readLoose(path: string): GitObject | undefined {
  const file = readRangeSync(path, undefined, MAX_OBJECT_BYTES)
  if (file === undefined) return undefined
  let plain: Buffer
  try {
    plain = inflateSync(file, { maxOutputLength: MAX_OBJECT_BYTES + 32 })
  } catch (cause) {
    throw damaged(`${path} does not inflate`, cause)
  }
  const nul = plain.indexOf(0)
  const header = nul < 0 ? null : LOOSE_HEADER.exec(plain.toString('latin1', 0, Math.min(nul, 32)))
  const bytes = plain.subarray(nul + 1)
  if (header === null || Number(header[2]) !== bytes.length) throw damaged(`${path} is damaged`)
  return { type: header[1] as ObjectType, bytes }
}

/** Durable when it returns. */
export function writeLoose(path: string, packFolder: string, { type, bytes }: GitObject): void {
  const file = deflateSync(Buffer.concat([utf8(`${type} ${bytes.length}\0`), bytes]))
  // A leftover beside it would be a bad object to `git fsck`; among the packs it is passed over.
  writeFileAtomic(path, file, 0o444, temporaryBeside(join(packFolder, 'loose')))
}
