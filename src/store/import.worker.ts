import { type ImportedPack, type ImportJob, importOnePack } from './importer.ts'
import { serveJobs } from './thread-pool.ts'

/** Takes packs in on a thread of its own. */
serveJobs<ImportJob, ImportedPack>(
  (packs) => (job) => importOnePack(packs as string, job),
  ({ bytes }) => [bytes.buffer],
)
