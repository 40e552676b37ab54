/**
 * Chunks in packs, found through an index that can always be rebuilt: adding, reading, checking out,
 * verifying. Not its concern: what a content means, history, remotes.
 */
export { createStore, openStore } from './open.ts'
