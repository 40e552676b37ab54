import { CxvError, type CommitId } from '../base/index.ts'
import { type Commits, MANIFEST_FOLDER } from './commits.ts'
import { damaged, decodeTree, MODE_FOLDER, type Oid } from './git-objects.ts'
import { fileAndFolder, type Manifests, readAs } from './manifests.ts'
import type { Objects } from './objects.ts'
import type { Refs } from './refs.ts'
import type { RefProblem } from './types.ts'

interface Parts {
  readonly refs: Refs
  readonly commits: Commits
  readonly manifests: Manifests
  readonly objects: Objects
}

/**
 * Reads everything that refs reach. A commit that several refs reach is named under the first.
 * @param onCommit called when one has been read
 */
export async function checkHistory(
  { refs, commits, manifests, objects }: Parts,
  onCommit: () => void,
): Promise<readonly RefProblem[]> {
  const problems: RefProblem[] = []
  const seenCommits = new Set<Oid>()
  const seenObjects = new Set<Oid>()

  async function checkTree(tree: Oid, top: boolean): Promise<void> {
    for (const { mode, name, oid } of decodeTree(await readAs(objects, tree, 'tree'))) {
      if ((top && name === MANIFEST_FOLDER) || seenObjects.has(oid)) continue
      if (mode === MODE_FOLDER) await checkTree(oid, false)
      else await readAs(objects, oid, 'blob')
      seenObjects.add(oid)
    }
  }

  async function checkCommit(ref: string, id: CommitId): Promise<readonly CommitId[]> {
    const { tree, parents } = await commits.commit(id)
    await checkTree(tree, true)
    const facts = await commits.dataset(id)
    if (facts === undefined) return parents
    const manifest = await commits.manifestTree(id)
    if (manifest !== undefined && seenObjects.has(manifest)) return parents
    const shards = await manifests.check(manifest, (oid) => seenObjects.has(oid))
    const rows = await manifests.rows(manifest, { asWritten: true })
    const bytes = rows.reduce((sum, row) => sum + row.size, 0)
    if (rows.length !== facts.files || bytes !== facts.bytes) {
      throw damaged(`commit ${id} counts other files than its manifest has`)
    }
    const both = fileAndFolder(rows)
    if (both !== undefined) {
      const problem = `commit ${id.slice(0, 10)} has ${both} as a file and as a folder and cannot be checked out`
      problems.push({ ref, commit: id, problem })
    }
    for (const oid of shards) seenObjects.add(oid)
    if (manifest !== undefined) seenObjects.add(manifest)
    return parents
  }

  async function checkRef(name: string): Promise<void> {
    const head = name === 'HEAD' ? await refs.head() : undefined
    if (head?.commit === null && head.branch !== null) {
      // A branch that was once moved is no branch yet to be. (One entry may be of a first commit that was
      // killed: the log is written before the ref.)
      const [last] = await refs.reflog(head.branch)
      if (last !== undefined && last.from !== null) {
        throw damaged(
          `${head.branch} is gone; its last commit was ${(last.to ?? last.from).slice(0, 10)}`,
        )
      }
    }
    const start = head === undefined ? await refs.ref(name) : head.commit
    if (start === null || typeof head?.branch === 'string') return
    const next = [await commits.peel(start)]
    for (let id = next.pop(); id !== undefined; id = next.pop()) {
      if (seenCommits.has(id)) continue
      seenCommits.add(id)
      next.push(...(await checkCommit(name, id)))
      onCommit()
    }
  }

  // HEAD last: on a branch, it has that branch's problems.
  for (const ref of [...(await refs.names()), 'HEAD']) {
    try {
      await checkRef(ref)
    } catch (error) {
      if (!(error instanceof CxvError)) throw error
      problems.push({ ref, problem: error.message })
    }
  }
  return problems
}
