/**
 * Between a repository and its remotes. Concern: what the other side lacks, in which order it is sent,
 * what is believed. Not its concern: how keys and bytes travel (backend), the work tree (repo).
 */
export { fetchRemote } from './fetch.ts'
export { push } from './push.ts'
export { checkRemoteName, openRemote } from './remote.ts'
export type * from './types.ts'
