import { type ImportedPack, type ImportJob, importOnePack } from './importer.ts'
import type { WorkFolders } from './materialiser.ts'
import { serveJobs } from './thread-pool.ts'

/** Takes packs in on a thread of its own. */
serveJobs<ImportJob, ImportedPack | undefined>(
  (folders) => (job) => importOnePack(folders as WorkFolders, job),
  (done) => (done?.bytes === undefined ? [] : [done.bytes.buffer]),
)
