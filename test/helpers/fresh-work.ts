import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Machine, machine } from './cli.ts'
import { type CleanUp, tempFolder } from './temp.ts'

/** A repository with nothing added yet, on a machine of its own. */
export interface FreshWork {
  readonly top: string
  readonly me: Machine
  readonly work: string
  write(files: Readonly<Record<string, string>>): void
}

/** @param files lie in the work tree before `cxv init` */
export async function freshWork(
  t: CleanUp,
  name: string,
  files: Readonly<Record<string, string>>,
): Promise<FreshWork> {
  const top = tempFolder(t, name)
  const work = join(top, 'work')
  mkdirSync(work)
  const me = machine(join(top, 'home'))
  const write = (more: Readonly<Record<string, string>>): void => {
    for (const [path, content] of Object.entries(more)) {
      mkdirSync(dirname(join(work, path)), { recursive: true })
      writeFileSync(join(work, path), content)
    }
  }
  write(files)
  await me.ok(work, 'init')
  return { top, me, work, write }
}
