/**
 * Test seam: `CXV_TEST_KILL_AT=n` kills this process with SIGKILL at its n-th durable step (write,
 * fsync or rename), so that tests can stop a verb at every one of them in turn. Unset, it counts only.
 */
const killAt = Number(process.env['CXV_TEST_KILL_AT'] ?? '0')
let steps = 0

export function crashPoint(_step: 'write' | 'sync' | 'rename' | 'link' | 'index'): void {
  steps++
  if (killAt > 0 && steps === killAt) process.kill(process.pid, 'SIGKILL')
}
