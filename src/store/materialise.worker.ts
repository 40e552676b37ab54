import {
  createMaterialiser,
  type MaterialisedFile,
  type MaterialiseJob,
  type WorkFolders,
} from './materialiser.ts'
import { serveJobs } from './thread-pool.ts'

/** Writes files of the work tree on a thread of its own. */
serveJobs<MaterialiseJob, MaterialisedFile[]>((setup) => {
  const materialiser = createMaterialiser(setup as WorkFolders)
  return (job) => materialiser.write(job)
})
