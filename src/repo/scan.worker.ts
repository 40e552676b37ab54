import { workerPort } from '../io/index.ts'
import { openIgnoreRules } from './ignore.ts'
import {
  claimBatch,
  createBatches,
  lookAt,
  type WalkBatch,
  walkFolder,
  type WalkMessage,
  type WalkSetup,
} from './walk.ts'

/**
 * Lists a work tree on a thread of its own, then looks at the files of each batch that the other thread has
 * not looked at by then. Its end, whichever, is the thread's.
 */
const { port, data } = workerPort()
const { root, under } = data as WalkSetup
const send = (message: WalkMessage, transfer: readonly ArrayBuffer[] = []): void =>
  port.post(message, transfer)
const listed: WalkBatch[] = []
const batches = createBatches((batch) => {
  send({ type: 'batch', batch })
  listed.push(batch)
})
await walkFolder(
  root,
  under,
  {
    rules: await openIgnoreRules(root),
    signal: new AbortController().signal,
    force: false,
    looksAt: () => false,
  },
  batches,
)
batches.flush()
for (const batch of listed) {
  if (!claimBatch(batch)) continue
  const looked = lookAt(root, batch)
  send({ type: 'looked', place: batch.place, looked }, [looked.facts.buffer])
}
send({ type: 'end' })
