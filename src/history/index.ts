/**
 * Commits, manifests and refs in a bare git repository that any git client can read. Concern: what a
 * version is and how versions follow each other. Not its concern: the bytes of the files (store/), the
 * work tree and the stage (repo/), how history travels (sync/).
 */
export { createHistory, openHistory } from './history.ts'
export { fileAndFolder } from './manifests.ts'
export { fullRefName, newRefName, refNameProblem, shortRefName } from './ref-names.ts'
export type * from './types.ts'
