import { createHash } from 'node:crypto'
import { compareUtf8, contentId } from '../../src/base/index.ts'
import type { ManifestRow } from '../../src/history/types.ts'

/** A row whose content is the given text. */
export const rowOf = (path: string, text = path): ManifestRow => ({
  path,
  size: Buffer.byteLength(text),
  executable: false,
  id: contentId(createHash('sha256').update(text).digest('hex')),
})

export const sortRows = (rows: readonly ManifestRow[]): ManifestRow[] =>
  [...rows].sort((a, b) => compareUtf8(a.path, b.path))

/** `n` rows named as the NIH names its images, sorted. */
export const imageRows = (n: number): ManifestRow[] =>
  sortRows(
    Array.from({ length: n }, (_, i) => {
      const patient = String(Math.floor(i / 4)).padStart(8, '0')
      return rowOf(`images/${patient}_${String(i % 4).padStart(3, '0')}.png`)
    }),
  )
