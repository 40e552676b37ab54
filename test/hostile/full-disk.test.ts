import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { list, type Machine, machine, program } from '../helpers/cli.ts'
import { seededBytes } from '../helpers/seeded.ts'
import { tempFolder } from '../helpers/temp.ts'

interface SmallDisk {
  readonly ada: Machine
  readonly work: string
  /** Takes every free byte; what it returns gives them back. */
  fill(): () => void
  /** Mounts it anew with these options. */
  remount(options: string): Promise<void>
}

/** A repository on a disk of 4 MiB, one file committed and one staged; a reason where that needs rights. */
async function smallDisk(t: TestContext): Promise<SmallDisk | string> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'mounting a disk needs root'
  let mounted = ''
  // Before the folder's own: they run in this order, and what is mounted cannot be removed.
  t.after(async () => {
    if (mounted !== '') await program('umount', ['--lazy', mounted])
  })
  const top = tempFolder(t, 'full')
  const disk = join(top, 'disk')
  mkdirSync(disk)
  try {
    await program('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', disk])
  } catch {
    return 'this machine lets no disk be mounted'
  }
  mounted = disk
  const work = join(disk, 'work')
  mkdirSync(work)
  const ada = machine(join(top, 'home'))
  await ada.ok(work, 'init')
  writeFileSync(join(work, 'a.bin'), seededBytes(1, 5000))
  await ada.ok(work, 'add', '.')
  await ada.ok(work, 'commit', '-m', 'first')
  writeFileSync(join(work, 'b.bin'), seededBytes(2, 5000))
  await ada.ok(work, 'add', '.')
  return {
    ada,
    work,
    fill() {
      const filler = join(disk, 'filler')
      let bytes = 1 << 20
      for (let n = 0; bytes >= 1;) {
        try {
          writeFileSync(`${filler}${n++}`, new Uint8Array(bytes))
        } catch {
          bytes >>= 1
        }
      }
      return () => {
        for (const name of readdirSync(disk))
          if (name.startsWith('filler')) rmSync(join(disk, name))
      }
    },
    remount: async (options) => void (await program('mount', ['-o', `remount,${options}`, disk])),
  }
}

const staged = async ({ ada, work }: SmallDisk): Promise<number> =>
  list(await ada.json(work, 'status'), 'staged').length

test('a full disk takes nothing from the stage', async (t) => {
  const disk = await smallDisk(t)
  if (typeof disk === 'string') return t.skip(disk)
  const { ada, work } = disk
  const free = disk.fill()
  const locks: string[] = []
  for (const verb of [['status'], ['add', '.'], ['commit', '-m', 'second']]) {
    const refused = await ada.fails(work, ...verb)
    locks.push(...readdirSync(join(work, '.cxv')).filter((name) => name.startsWith('lock')))
    assert.equal(`${refused.code} ${refused.status}`, 'NO_SPACE 18', refused.message)
    assert.match(refused.hint, /free some space/)
  }
  assert.deepEqual(
    readdirSync(join(work, '.cxv')).filter((name) => name === 'bad'),
    [],
  )
  assert.deepEqual(locks, [], 'a lock that was not written is held by nobody')
  free()
  assert.equal(await staged(disk), 1)
  await ada.ok(work, 'commit', '-m', 'second')
})

test('a repository that cannot be written says so', async (t) => {
  const disk = await smallDisk(t)
  if (typeof disk === 'string') return t.skip(disk)
  const { ada, work } = disk
  await disk.remount('ro')
  for (const verb of [['status'], ['ls'], ['add', '.']]) {
    const refused = await ada.fails(work, ...verb)
    assert.equal(`${refused.code} ${refused.status}`, 'FILE_SYSTEM 18', refused.message)
    assert.match(refused.message, /read-only file system/i)
  }
  await disk.remount('rw')
  assert.equal(await staged(disk), 1)
})
