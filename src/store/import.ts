import { fromHex } from '../base/index.ts'
import { decodeTable } from '../format/index.ts'
import { usefulThreads } from '../io/index.ts'
import { joinIds } from './add-wire.ts'
import { addForeignPack } from './foreign.ts'
import { type ImportedPack, type ImportJob, importOnePack } from './importer.ts'
import type { ChunkIndex } from './level-index.ts'
import type { WorkFolders } from './materialiser.ts'
import type { PackFiles } from './pack-files.ts'
import { createThreadPool, type ThreadPool } from './thread-pool.ts'
import type { PackImporter } from './types.ts'
import { removeTemporaries } from './work-files.ts'

/** Smaller packs are taken in on the thread that has them: starting another takes longer. */
const SMALL_PACK_BYTES = 4 << 20

/**
 * Threads that take packs in wait for the disk a third of their time: one more than there are cores keeps
 * those busy. Three hash 2 GB/s, and each holds a pack (docs/decisions/0018).
 */
const importThreads = (): number => Math.min(3, usefulThreads() + 1)

/** @see Store.openImporter */
export function createPackImporter(
  folders: WorkFolders,
  index: ChunkIndex,
  packFiles: PackFiles,
): PackImporter {
  const width = importThreads()
  let threads: ThreadPool<ImportJob, ImportedPack> | undefined
  const take = (job: ImportJob): Promise<ImportedPack> => {
    if (job.bytes.length <= SMALL_PACK_BYTES) return importOnePack(folders, job)
    threads ??= createThreadPool(new URL('./import.worker.js', import.meta.url), folders, width)
    return threads.run(job, [job.bytes.buffer])
  }
  return {
    width,
    async import(id, bytes, files = []) {
      const sizeBytes = bytes.length
      const done = await take({
        id,
        bytes,
        paths: files.map((file) => file.absolutePath).join('\0'),
        executable: Uint8Array.from(files, (file) => (file.executable ? 1 : 0)),
        ids: joinIds(files.map((file) => fromHex(file.id))),
      })
      const pack = { id, sizeBytes, kind: done.kind, damaged: false }
      await addForeignPack(index, packFiles, pack, decodeTable(done.table, sizeBytes))
      const written = files.flatMap(({ absolutePath }, i) => {
        const stat = done.files[i]
        return stat === undefined ? [] : [{ absolutePath, stat }]
      })
      return { written, bytes: done.bytes }
    },
    async close() {
      await threads?.close()
      // A thread that was ended in the middle of a file could not tidy up.
      removeTemporaries(folders.temporaries, { own: true })
    },
  }
}
