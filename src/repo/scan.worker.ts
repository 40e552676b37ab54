import { workerPort } from '../io/index.ts'
import { openIgnoreRules } from './ignore.ts'
import { createBatches, walkFolder, type WalkSetup } from './walk.ts'

/** Walks a work tree on a thread of its own; its end, whichever, is the thread's. */
const { port, data } = workerPort()
const { root, under } = data as WalkSetup
const batches = createBatches((batch) => port.post(batch, [batch.facts.buffer]))
const never = new AbortController().signal
await walkFolder(
  root,
  under,
  { rules: await openIgnoreRules(root), signal: never, force: false },
  batches,
)
batches.flush()
port.post('end')
