/**
 * The verbs: one file each. Concern: from options to a result that is plain JSON.
 * Not its concern: argv, colours, exit codes (cli), how anything is stored or trained (rooms below).
 */
export { VERBS, type VerbEntry } from './registry.ts'
