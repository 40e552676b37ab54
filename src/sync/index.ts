/**
 * Between a repository and its remotes. Concern: what the other side lacks, in which order it is sent,
 * what is believed. Not its concern: how keys and bytes travel (backend), the work tree (repo).
 */
export { clone, folderOfUrl } from './clone.ts'
export { fetchRemote } from './fetch.ts'
export { pull } from './pull.ts'
export { push } from './push.ts'
export { openRemote } from './remote.ts'
export { addRemote, checkRemote, lastingUrl, listRemotes, removeRemote } from './remotes.ts'
