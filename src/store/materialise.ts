import { type Context, fromHex, type PackId, toHex } from '../base/index.ts'
import { joinIds } from './add-wire.ts'
import {
  byPlace,
  type Layout,
  layOut,
  type Lookup,
  missingContent,
  placeOf,
  readFrame,
  rightLayout,
} from './contents.ts'
import {
  createMaterialiser,
  type MaterialiseJob,
  type MaterialisedFile,
  type WorkFolders,
} from './materialiser.ts'
import { decodeLocated, type PackFiles } from './pack-files.ts'
import { createThreadPool } from './thread-pool.ts'
import type { FileToMaterialise, Materialised, StatFacts } from './types.ts'
import { createWorkFileWriter, removeTemporaries, type WorkFileWriter } from './work-files.ts'

/** Files whose places are known at a time: bounds memory, whatever the number of files. */
const GROUP_FILES = 8_192
const JOB_FILES = 512
const JOB_BYTES = 16 << 20
/** Below this, threads cost more than they save. */
const SMALL_FILES = 128
const SMALL_BYTES = 16 << 20
const QUEUED_JOBS = 2

interface PlacedFile {
  readonly file: FileToMaterialise
  readonly layout: Layout
}

export interface MaterialiseOptions {
  readonly onBytes?: (files: number, bytes: number) => void
}

/** @see Store.materialise */
export async function* materialise(
  ctx: Context,
  folders: WorkFolders,
  packFiles: PackFiles,
  lookup: Lookup,
  files: readonly FileToMaterialise[],
  options: MaterialiseOptions = {},
): AsyncGenerator<Materialised> {
  let bytes = 0
  for (const file of files) bytes += file.size
  const small = files.length <= SMALL_FILES && bytes <= SMALL_BYTES
  const pool = small ? createLocalPool(folders) : createWorkerPool(folders)
  removeTemporaries(folders.temporaries, { own: true })
  try {
    for (let from = 0; from < files.length; from += GROUP_FILES) {
      const placed = await placeFiles(packFiles, lookup, files.slice(from, from + GROUP_FILES))
      for await (const { job, results } of pool.run(ctx, jobsOf(placed))) {
        const done: { absolutePath: string; stat: StatFacts }[] = []
        for (const [i, { file, layout }] of job.entries()) {
          const stat = results[i] ?? (await writeHere(folders, packFiles, lookup, { file, layout }))
          done.push({ absolutePath: file.absolutePath, stat })
        }
        options.onBytes?.(
          job.length,
          job.reduce((sum, { file }) => sum + file.size, 0),
        )
        yield done
      }
    }
  } finally {
    await pool.close()
    // A thread that was ended in the middle of a file could not tidy up.
    removeTemporaries(folders.temporaries, { own: true })
  }
}

async function placeFiles(
  packFiles: PackFiles,
  lookup: Lookup,
  files: readonly FileToMaterialise[],
): Promise<PlacedFile[]> {
  const layouts = await layOut(
    packFiles,
    lookup,
    files.map((file) => fromHex(file.id)),
  )
  const placed = files.map((file, i) => {
    const layout = layouts[i]
    if (layout === undefined) throw missingContent(file.id)
    return { file, layout }
  })
  return placed.sort((a, b) => byPlace(placeOf(a.layout), placeOf(b.layout)))
}

function* jobsOf(placed: readonly PlacedFile[]): Generator<readonly PlacedFile[]> {
  let job: PlacedFile[] = []
  let bytes = 0
  for (const one of placed) {
    job.push(one)
    bytes += one.file.size
    if (job.length >= JOB_FILES || bytes >= JOB_BYTES) {
      yield job
      job = []
      bytes = 0
    }
  }
  if (job.length > 0) yield job
}

const partsOf = (layout: Layout) => (layout.kind === 'chunk' ? [layout] : layout.parts)

function encodeJob(placed: readonly PlacedFile[]): MaterialiseJob {
  const packs = new Map<PackId, number>()
  const parts = placed.map(({ layout }) => partsOf(layout))
  const all = parts.flat()
  const places = new Uint32Array(all.length * 4)
  all.forEach(({ at }, i) => {
    let pack = packs.get(at.pack)
    if (pack === undefined) packs.set(at.pack, (pack = packs.size))
    places.set([pack, at.offset, at.length, at.plainLength], i * 4)
  })
  return {
    paths: placed.map(({ file }) => file.absolutePath).join('\0'),
    executable: Uint8Array.from(placed, ({ file }) => (file.executable ? 1 : 0)),
    ids: joinIds(placed.map(({ layout }) => layout.id)),
    partCounts: Uint32Array.from(parts, (p) => p.length),
    partIds: joinIds(all.map((part) => part.id)),
    places,
    packs: [...packs.keys()],
  }
}

/** A file whose chunks are not where they should be: read with all that the store can still find. */
async function writeHere(
  { temporaries }: WorkFolders,
  packFiles: PackFiles,
  lookup: Lookup,
  { file, layout }: PlacedFile,
): Promise<StatFacts> {
  const writer = createWorkFileWriter(temporaries)
  const stat = await writeFound(writer, packFiles, lookup, { file, layout })
  if (stat !== undefined) return stat
  const right = await rightLayout(packFiles, lookup, layout)
  const again = right && (await writeFound(writer, packFiles, lookup, { file, layout: right }))
  if (again === undefined) throw missingContent(file.id)
  return again
}

/** Reads twice, first for the index to learn where each chunk is whole: never more than one is held. */
async function writeFound(
  writer: WorkFileWriter,
  packFiles: PackFiles,
  lookup: Lookup,
  { file, layout }: PlacedFile,
): Promise<StatFacts | undefined> {
  const parts = partsOf(layout)
  for (const { id, at } of parts) await readFrame(packFiles, lookup, 'chunk', id, at)
  const places = await lookup.locate(
    'chunk',
    parts.map(({ id }) => id),
  )
  function* pieces(): Generator<Uint8Array> {
    for (const [i, { id, at: before }] of parts.entries()) {
      const at = places[i] ?? before
      const frame = new Uint8Array(at.length)
      packFiles.readSync(at.pack, at.offset, frame)
      yield decodeLocated('chunk', id, at, frame)
    }
  }
  return writer.write(file.absolutePath, file.size, pieces(), toHex(layout.id), file.executable)
}

interface Finished {
  readonly job: readonly PlacedFile[]
  readonly results: readonly MaterialisedFile[]
}

interface Pool {
  run(ctx: Context, jobs: Iterable<readonly PlacedFile[]>): AsyncIterable<Finished>
  close(): Promise<void>
}

function createLocalPool(folders: WorkFolders): Pool {
  const materialiser = createMaterialiser(folders)
  return {
    async *run(ctx, jobs) {
      for (const job of jobs) {
        ctx.signal.throwIfAborted()
        yield { job, results: materialiser.write(encodeJob(job)) }
        // Other work of this thread must get its turn between jobs.
        await new Promise((resolve) => setImmediate(resolve))
      }
    },
    close() {
      materialiser.close()
      return Promise.resolve()
    },
  }
}

function createWorkerPool(folders: WorkFolders): Pool {
  const threads = createThreadPool<MaterialiseJob, MaterialisedFile[]>(
    new URL('./materialise.worker.js', import.meta.url),
    folders,
  )
  return {
    async *run(ctx, jobs) {
      const ahead: Promise<Finished>[] = []
      for (const job of jobs) {
        ctx.signal.throwIfAborted()
        const finished = threads.run(encodeJob(job)).then((results) => ({ job, results }))
        // Of several failures one is thrown; the others must not be left without a listener.
        finished.catch(() => undefined)
        ahead.push(finished)
        if (ahead.length >= threads.width * QUEUED_JOBS) yield await ahead.shift()!
      }
      for (const finished of ahead) yield await finished
    },
    close: () => threads.close(),
  }
}
