/**
 * The server side of a remote. Concern: answering the stdio protocol over a folder.
 * Not its concern: the client (backend), what the bytes mean.
 */
import { CxvError } from '../base/index.ts'
import { defineCommand, erase } from '../commands/types.ts'

export const command = erase(
  defineCommand({
    name: 'serve',
    summary: 'Answer another cxv over stdin and stdout (what ssh starts)',
    options: {},
    run(): Promise<null> {
      throw new CxvError('USAGE', 'serve is being built')
    },
    text: () => [],
  }),
)
