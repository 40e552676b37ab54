import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Where `cxv engine add tensorflow` puts the engine, or CXV_TEST_TENSORFLOW; undefined: not set up. */
export function tensorflowFolder(): string | undefined {
  const folder =
    process.env['CXV_TEST_TENSORFLOW'] ?? join(homedir(), '.local/share/cxv/engines/tensorflow')
  return existsSync(join(folder, 'node_modules/@tensorflow')) ? folder : undefined
}

export const TENSORFLOW_SKIP = 'the tensorflow engine is not set up: cxv engine add tensorflow'
