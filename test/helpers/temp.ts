import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What of a test (or of a suite's `after`) is needed to clean up. */
export interface CleanUp {
  after(fn: () => void | Promise<void>): void
}

/** A new folder that is removed when the test ends. */
export function tempFolder(t: CleanUp, name = 'test'): string {
  const folder = mkdtempSync(join(tmpdir(), `cxv-${name}-`))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}
