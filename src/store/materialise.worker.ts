import type { MaterialiserSetup } from './materialise.ts'
import { createMaterialiser, type MaterialisedFile, type MaterialiseJob } from './materialiser.ts'
import { serveJobs } from './thread-pool.ts'

/** Writes files of the work tree on a thread of its own. */
serveJobs<MaterialiseJob, MaterialisedFile[]>((setup) => {
  const materialiser = createMaterialiser((setup as MaterialiserSetup).packs)
  return (job) => materialiser.write(job)
})
