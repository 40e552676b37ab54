import { equalBytes, type PackId, toHex } from '../base/index.ts'
import { createPackFiles, decodeLocated } from './pack-files.ts'
import type { Locator, StatFacts } from './types.ts'
import { createWorkFileWriter } from './work-files.ts'

/** Files to write, as they lie in packs; travels to a worker thread as few arrays. */
export interface MaterialiseJob {
  /** Absolute paths, separated by NUL. */
  readonly paths: string
  readonly executable: Uint8Array
  /** Content ids, 32 bytes each. */
  readonly ids: Uint8Array
  /** How many chunks each file has. */
  readonly partCounts: Uint32Array
  /** Chunk ids, 32 bytes each. */
  readonly partIds: Uint8Array
  /** Four a chunk: index in `packs`, offset, length, plain length. */
  readonly places: Uint32Array
  readonly packs: readonly PackId[]
}

/** For each file of the job: what was written, or that its chunks could not be read where they should lie. */
export type MaterialisedFile = StatFacts | undefined

export interface Materialiser {
  write(job: MaterialiseJob): MaterialisedFile[]
  close(): void
}

/** Absolute paths of folders in `.cxv`. */
export interface WorkFolders {
  readonly packs: string
  /** @see createWorkFileWriter */
  readonly temporaries: string
}

const SPAN_BYTES = 4 << 20
const GAP_BYTES = 64 << 10

/** What one thread does of `materialise`: reads spans of packs, verifies, writes, renames. */
export function createMaterialiser({ packs, temporaries }: WorkFolders): Materialiser {
  const files = createPackFiles(packs)
  const writer = createWorkFileWriter(temporaries)
  const buffer = Buffer.allocUnsafeSlow(SPAN_BYTES + GAP_BYTES)
  let spanPack: PackId | undefined
  let spanFrom = 0
  let spanEnd = 0

  /** The frame at a place; reads ahead over the places that follow it closely. */
  const frameAt = (places: readonly Locator[], i: number): Uint8Array => {
    const at = places[i]!
    if (at.pack !== spanPack || at.offset < spanFrom || at.offset + at.length > spanEnd) {
      let end = at.offset + at.length
      for (let k = i + 1; k < places.length; k++) {
        const next = places[k]!
        const nextEnd = next.offset + next.length
        if (next.pack !== at.pack || next.offset < at.offset || next.offset > end + GAP_BYTES) break
        if (nextEnd - at.offset > buffer.length) break
        end = Math.max(end, nextEnd)
      }
      spanPack = undefined
      files.readSync(at.pack, at.offset, buffer.subarray(0, end - at.offset))
      spanPack = at.pack
      spanFrom = at.offset
      spanEnd = end
    }
    return buffer.subarray(at.offset - spanFrom, at.offset - spanFrom + at.length)
  }

  return {
    write(job) {
      const places = placesOf(job)
      const results: MaterialisedFile[] = []
      let part = 0
      job.paths.split('\0').forEach((path, i) => {
        const first = part
        part += job.partCounts[i] ?? 0
        const count = part - first
        function* pieces(): Generator<Uint8Array> {
          for (let k = first; k < first + count; k++) {
            const chunk = job.partIds.subarray(k * 32, k * 32 + 32)
            yield decodeLocated('chunk', chunk, places[k]!, frameAt(places, k))
          }
        }
        const id = job.ids.subarray(i * 32, i * 32 + 32)
        // A list of one chunk may be wrong as any other.
        const isChunk = count === 1 && equalBytes(id, job.partIds.subarray(first * 32, part * 32))
        const wholeId = isChunk ? undefined : toHex(id)
        let size = 0
        for (let k = first; k < part; k++) size += places[k]!.plainLength
        results.push(writer.write(path, size, pieces(), wholeId, job.executable[i] === 1))
      })
      return results
    },
    close: () => files.close(),
  }
}

function placesOf(job: MaterialiseJob): Locator[] {
  const places: Locator[] = []
  for (let at = 0; at < job.places.length; at += 4) {
    const pack = job.packs[job.places[at]!]
    if (pack === undefined) throw new Error('a place names no pack')
    places.push({
      pack,
      offset: job.places[at + 1]!,
      length: job.places[at + 2]!,
      plainLength: job.places[at + 3]!,
    })
  }
  return places
}
