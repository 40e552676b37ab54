import { workerPort } from '../io/index.ts'
import { encodeError } from './add-wire.ts'
import { createMaterialiser } from './materialiser.ts'
import type { FromMaterialiser, MaterialiserSetup, ToMaterialiser } from './materialise.ts'

/** Writes files of the work tree on a thread of its own. */
const { port, data } = workerPort()
const materialiser = createMaterialiser((data as MaterialiserSetup).packs)

port.onMessage((raw) => {
  const { number, job } = raw as ToMaterialiser
  let reply: FromMaterialiser
  try {
    reply = { number, files: materialiser.write(job) }
  } catch (error) {
    reply = { number, error: encodeError(error) }
  }
  port.post(reply)
})
