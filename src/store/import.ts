import { fromHex, type PackId } from '../base/index.ts'
import { decodeTable } from '../format/index.ts'
import { usefulThreads } from '../io/index.ts'
import { joinIds } from './add-wire.ts'
import { addForeignPack } from './foreign.ts'
import { type ImportedPack, type ImportJob, importOnePack } from './importer.ts'
import type { ChunkIndex } from './level-index.ts'
import type { WorkFolders } from './materialiser.ts'
import type { PackFiles } from './pack-files.ts'
import { createThreadPool, type ThreadPool } from './thread-pool.ts'
import type { FileToMaterialise, Materialised, PackImporter } from './types.ts'
import { removeTemporaries } from './work-files.ts'

/** Smaller packs are taken in on the thread that has them: starting another takes longer. */
const SMALL_PACK_BYTES = 4 << 20

/** Each may hold a pack or two, and three hash more than a disk writes (docs/decisions/0018). */
const importThreads = (): number => Math.min(3, usefulThreads())

/** @see Store.openImporter */
export function createPackImporter(
  folders: WorkFolders,
  index: ChunkIndex,
  packFiles: PackFiles,
): PackImporter {
  const width = importThreads()
  let threads: ThreadPool<ImportJob, ImportedPack | undefined> | undefined

  const run = async (job: ImportJob): Promise<ImportedPack | undefined> => {
    const { source } = job
    const sizeBytes = 'path' in source ? source.sizeBytes : source.length
    if (sizeBytes <= SMALL_PACK_BYTES) return importOnePack(folders, job)
    threads ??= createThreadPool(new URL('./import.worker.js', import.meta.url), folders, width)
    return threads.run(job, 'path' in source ? [] : [source.buffer])
  }

  /** Takes the pack in and indexes it. @returns undefined for one that cannot be linked */
  const take = async (
    id: PackId,
    sizeBytes: number,
    source: ImportJob['source'],
    files: readonly FileToMaterialise[],
  ): Promise<{ readonly written: Materialised; readonly done: ImportedPack } | undefined> => {
    const done = await run({
      id,
      source,
      paths: files.map((file) => file.absolutePath).join('\0'),
      executable: Uint8Array.from(files, (file) => (file.executable ? 1 : 0)),
      ids: joinIds(files.map((file) => fromHex(file.id))),
    })
    if (done === undefined) return undefined
    const pack = { id, sizeBytes, kind: done.kind, damaged: false }
    await addForeignPack(index, packFiles, pack, decodeTable(done.table, sizeBytes))
    const written = files.flatMap(({ absolutePath }, i) => {
      const stat = done.files[i]
      return stat === undefined ? [] : [{ absolutePath, stat }]
    })
    return { written, done }
  }

  return {
    width,
    async import(id, bytes, files = []) {
      const taken = await take(id, bytes.length, bytes, files)
      const memory = taken?.done.bytes
      if (taken === undefined || memory === undefined)
        throw new Error('the bytes did not come back')
      return { written: taken.written, bytes: memory }
    },
    async importLink(id, pack, files = []) {
      return (await take(id, pack.sizeBytes, pack, files))?.written
    },
    async close() {
      await threads?.close()
      // A thread that was ended in the middle of a file could not tidy up.
      removeTemporaries(folders.temporaries, { own: true })
    },
  }
}
