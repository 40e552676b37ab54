import { damaged, MAX_OBJECT_BYTES, type Oid } from './git-objects.ts'
import { entryHead, inflateExactly } from './git-pack.ts'

/** git's own limit is 4095; `git gc` makes chains of 50. */
const MAX_CHAIN = 4095

/** An entry of a pack, and how to find others: at an offset of the same pack, or by id. */
export interface DeltaEntry {
  readonly bytes: Uint8Array
  readonly before: (distance: number) => DeltaEntry
  readonly byId: (oid: Oid) => DeltaEntry | undefined
}

/**
 * Follows a chain of deltas and checks that no step inflates to more than it declares, or to more than
 * an object of the history may have, before isomorphic-git, which has no such bounds, is let at it.
 * @throws FORMAT_INVALID
 */
export function checkDeltaChain(first: DeltaEntry): void {
  let entry: DeltaEntry | undefined = first
  for (let step = 0; step <= MAX_CHAIN; step++) {
    if (entry === undefined) return
    const { bytes } = entry
    const head = entryHead(bytes, 0)
    if (head.delta === undefined) {
      inflateExactly(bytes.subarray(head.bodyAt), head.size)
      return
    }
    let bodyAt = head.bodyAt
    let next: DeltaEntry | undefined
    if (head.delta === 'id') {
      next = entry.byId(Buffer.from(bytes.subarray(bodyAt, bodyAt + 20)).toString('hex'))
      bodyAt += 20
    } else {
      const distance = readDistance(bytes, bodyAt)
      next = entry.before(distance.value)
      bodyAt = distance.next
    }
    const delta = inflateExactly(bytes.subarray(bodyAt), head.size).bytes
    const base = readSize(delta, 0)
    if (readSize(delta, base.next).value > MAX_OBJECT_BYTES || base.value > MAX_OBJECT_BYTES) {
      throw damaged('a delta makes an object that is too large')
    }
    entry = next
  }
  throw damaged('a chain of deltas is too long')
}

/** gitformat-pack(5), "offset encoding". */
function readDistance(
  bytes: Uint8Array,
  at: number,
): { readonly value: number; readonly next: number } {
  let next = at
  let byte = bytes[next++] ?? 0
  let value = byte & 0x7f
  while ((byte & 0x80) !== 0) {
    byte = bytes[next++] ?? 0
    value = (value + 1) * 128 + (byte & 0x7f)
    if (value > Number.MAX_SAFE_INTEGER / 256) throw damaged('a delta has a bad offset')
  }
  return { value, next }
}

/** gitformat-pack(5), "size encoding". */
function readSize(
  bytes: Uint8Array,
  at: number,
): { readonly value: number; readonly next: number } {
  let next = at
  let value = 0
  let scale = 1
  for (;;) {
    const byte = bytes[next++] ?? 0
    value += (byte & 0x7f) * scale
    if ((byte & 0x80) === 0) return { value, next }
    scale *= 128
    if (scale > 2 ** 42) throw damaged('a delta has a bad size')
  }
}
