/**
 * The other end of a remote. Concern: answering the stdio protocol over one folder.
 * Not its concern: what is stored there (keys and bytes), who may connect (sshd decides that).
 */
export { serveStdio } from './stdio.ts'
export { command } from './command.ts'
