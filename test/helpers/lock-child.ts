import { appendFileSync } from 'node:fs'
import { acquireLock } from '../../src/io/index.ts'
import { testContext } from './context.ts'

/** Takes a lock again and again, tells a log when it is inside, and at last dies with the lock. */
const [path = '', log = '', times = '1'] = process.argv.slice(2)
for (let i = 0; i < Number(times); i++) {
  const lock = await acquireLock(testContext(), path, 'test', 60_000)
  appendFileSync(log, `enter ${process.pid}\n`)
  const until = performance.now() + 2
  while (performance.now() < until);
  appendFileSync(log, `leave ${process.pid}\n`)
  if (i === Number(times) - 1) process.kill(process.pid, 'SIGKILL')
  lock.release()
}
