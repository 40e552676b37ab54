// A process of its own for tests of kills and of waiting: `node store-child.js <verb> <.cxv> <work folder>`.
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createStore, openStore } from '../../src/store/index.ts'
import { testContext } from './context.ts'
import { seededBytes } from './seeded.ts'

const [verb = '', folder = '', work = ''] = process.argv.slice(2)

async function add(): Promise<string> {
  mkdirSync(folder, { recursive: true })
  await createStore(folder)
  const store = await openStore(testContext(), folder, { waitMs: 60_000 })
  const files = readdirSync(work)
    .sort()
    .map((path) => ({ path, absolutePath: join(work, path) }))
  let count = 0
  for await (const batch of store.addFiles(files)) {
    count += batch.filter((file) => file.status !== 'failed').length
  }
  await store.put(seededBytes(77, 2_000))
  await store.put(seededBytes(78, 2_500_000))
  await store.close()
  return String(count)
}

/** Holds the index until a file named `go` lies in the work folder. */
async function hold(): Promise<string> {
  const store = await openStore(testContext(), folder)
  writeFileSync(join(work, 'held'), '')
  while (!existsSync(join(work, 'go'))) await new Promise((resolve) => setTimeout(resolve, 5))
  await store.close()
  return 'released'
}

const verbs: Readonly<Record<string, () => Promise<string>>> = { add, hold }
const run = verbs[verb]
if (run === undefined) throw new Error(`no verb ${verb}`)
process.stdout.write(await run())
