import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { cxv, cxvOk } from '../helpers/cxv.ts'
import { seededBytes } from '../helpers/seeded.ts'
import { type Sshd, sshdSkipReason, startSshd } from '../helpers/sshd.ts'

const top = mkdtempSync(join(tmpdir(), 'cxv-remotes-'))
let server: Promise<Sshd> | undefined
const sshd = (): Promise<Sshd> => (server ??= startSshd())
after(async () => {
  await (await server)?.stop()
  rmSync(top, { recursive: true, force: true })
})

let made = 0
function newFolder(name: string): string {
  const folder = join(top, `${name}-${++made}`)
  mkdirSync(folder)
  return folder
}

/** A committed repository with small files and one larger than a chunk. */
async function committed(seed: number, env = {}): Promise<string> {
  const folder = newFolder('laptop')
  mkdirSync(join(folder, 'images'))
  for (let i = 0; i < 30; i++) {
    writeFileSync(join(folder, 'images', `${i}.png`), seededBytes(seed + i, 2000 + i * 100))
  }
  writeFileSync(join(folder, 'images', 'big.dcm'), seededBytes(seed, 6_000_000))
  await cxvOk(['init'], folder, env)
  await cxvOk(['add', 'images'], folder, env)
  await cxvOk(['commit', '-m', 'first'], folder, env)
  return folder
}

function sameTree(a: string, b: string): void {
  const names = readdirSync(join(a, 'images')).sort()
  assert.deepEqual(readdirSync(join(b, 'images')).sort(), names)
  for (const name of names) {
    assert.ok(
      Buffer.compare(
        readFileSync(join(a, 'images', name)),
        readFileSync(join(b, 'images', name)),
      ) === 0,
      name,
    )
  }
}

async function clean(folder: string): Promise<void> {
  const fsck = await cxv(['fsck'], folder)
  assert.equal(fsck.status, 0, fsck.stdout + fsck.stderr)
}

/** The same story on every kind of remote. */
async function story(url: string, env: Readonly<Record<string, string>>): Promise<void> {
  const laptop = await committed(1)
  const added = await cxvOk(['--json', 'remote', 'add', 'gpu', url], laptop, env)
  assert.equal(added.json()['state'], 'empty')
  await cxvOk(['push'], laptop, env)
  const gpu = join(top, `gpu-${++made}`)
  await cxvOk(['clone', url, gpu], top, env)
  assert.equal((await cxvOk(['--json', 'pull'], gpu, env)).json()['status'], 'up to date')
  sameTree(laptop, gpu)
  await clean(gpu)
  assert.match((await cxvOk(['status'], gpu)).stdout, /nothing to commit/)

  // There and back again.
  writeFileSync(join(gpu, 'images', 'new.png'), seededBytes(99, 500))
  await cxvOk(['add', 'images'], gpu)
  await cxvOk(['commit', '-m', 'second'], gpu)
  await cxvOk(['push'], gpu, env)
  const pulled = (await cxvOk(['--json', 'pull'], laptop, env)).json()
  assert.equal(pulled['status'], 'fast forward')
  assert.equal(pulled['written'], 1)
  sameTree(gpu, laptop)

  // Both go on: the second push is rejected and says what differs; neither side is changed.
  writeFileSync(join(gpu, 'images', '1.png'), seededBytes(100, 500))
  await cxvOk(['add', 'images'], gpu)
  await cxvOk(['commit', '-m', 'third, there'], gpu)
  writeFileSync(join(laptop, 'images', '2.png'), seededBytes(101, 500))
  await cxvOk(['add', 'images'], laptop)
  await cxvOk(['commit', '-m', 'third, here'], laptop)
  await cxvOk(['push'], gpu, env)
  const rejected = await cxv(['push'], laptop, env)
  assert.equal(rejected.status, 13)
  assert.match(rejected.stderr, /1 commit that you lack.*1 commit that it lacks.*2 files changed/)
  const diverged = await cxv(['pull'], laptop, env)
  assert.equal(diverged.status, 13)
  assert.match(diverged.stderr, /both went on/)
  await clean(laptop)

  // History first, bytes later.
  const later = join(top, `later-${++made}`)
  await cxvOk(['clone', url, later, '--no-data'], top, env)
  assert.ok(!existsSync(join(later, 'images')))
  assert.equal((await cxvOk(['log', '--json'], later)).status, 0)
  await cxvOk(['pull'], later, env)
  sameTree(gpu, later)
  await clean(later)

  const check = (await cxvOk(['--json', 'remote', 'check'], laptop, env)).json()
  assert.equal(check['ok'], true)
}

test('the story over a folder', () => story(newFolder('nas'), {}))

const skip = sshdSkipReason()
test('the story over ssh', { ...(skip === undefined ? {} : { skip }) }, async () => {
  const { url, env } = await sshd()
  await story(url(join(newFolder('srv'), "it's xrays")), env)
})

test('a pull never overwrites what is in no version', async () => {
  const nas = newFolder('nas')
  const laptop = await committed(2)
  await cxvOk(['remote', 'add', 'nas', nas], laptop)
  await cxvOk(['push'], laptop)
  const other = join(top, `other-${++made}`)
  await cxvOk(['clone', nas, other], top)
  writeFileSync(join(laptop, 'images', '3.png'), seededBytes(7, 900))
  await cxvOk(['add', 'images'], laptop)
  await cxvOk(['commit', '-m', 'second'], laptop)
  await cxvOk(['push'], laptop)
  const mine = seededBytes(8, 901)
  writeFileSync(join(other, 'images', '3.png'), mine)
  const pull = await cxv(['pull'], other)
  assert.equal(pull.status, 17, pull.stderr)
  assert.match(pull.stderr, /images\/3\.png/)
  assert.deepEqual(new Uint8Array(readFileSync(join(other, 'images', '3.png'))), mine)
  // Mended as the hint says, the same command goes on.
  await cxvOk(['restore', '--force', 'images/3.png'], other)
  await cxvOk(['pull'], other)
  sameTree(laptop, other)
})

test('of two machines pushing at once one wins, and the other keeps its commit', async () => {
  const nas = newFolder('nas')
  const a = await committed(3)
  await cxvOk(['remote', 'add', 'nas', nas], a)
  await cxvOk(['push'], a)
  const b = join(top, `b-${++made}`)
  await cxvOk(['clone', nas, b], top)
  for (const [i, folder] of [a, b].entries()) {
    writeFileSync(join(folder, 'images', `from-${i}.png`), seededBytes(20 + i, 5000))
    await cxvOk(['add', 'images'], folder)
    await cxvOk(['commit', '-m', `from ${i}`], folder)
  }
  const results = await Promise.all([cxv(['push'], a), cxv(['push'], b)])
  assert.deepEqual(results.map(({ status }) => status).sort(), [0, 13])
  const winner = results[0].status === 0 ? a : b
  const reader = join(top, `reader-${++made}`)
  await cxvOk(['clone', nas, reader], top)
  sameTree(winner, reader)
  for (const folder of [a, b, reader]) await clean(folder)
})

test('a clone is refused where it would do harm, and leaves no folder for a wrong URL', async () => {
  const nas = newFolder('nas')
  const laptop = await committed(4)
  await cxvOk(['remote', 'add', 'nas', nas], laptop)
  await cxvOk(['push'], laptop)
  const full = newFolder('full')
  writeFileSync(join(full, 'thesis.tex'), 'mine')
  assert.equal((await cxv(['clone', nas, full], top)).status, 17)
  assert.deepEqual(readdirSync(full), ['thesis.tex'])
  const wrong = await cxv(['clone', join(top, 'no-such-place'), join(top, 'none')], top)
  assert.equal(wrong.status, 16)
  assert.ok(!existsSync(join(top, 'none')))
  assert.ok(!existsSync(join(top, 'no-such-place')))
  assert.equal((await cxv(['clone', nas, laptop], top)).status, 2)
})

// Not even root makes folders there.
const unwritable = '/sys/cxv-remote'
const noSys = existsSync('/sys/kernel') ? false : 'no /sys on this system'

test('a remote that may not be written says so, and its check too', { skip: noSys }, async () => {
  const laptop = await committed(900)
  await cxvOk(['remote', 'add', 'origin', unwritable], laptop)
  const pushed = await cxv(['push'], laptop)
  assert.equal(pushed.status, 12, pushed.stderr)
  assert.match(pushed.stderr, /cannot be written \(E[A-Z]+\) \[REMOTE_READ_ONLY\]/)
  const checked = await cxv(['remote', 'check', '--json'], laptop)
  const { ok, steps } = JSON.parse(checked.stdout) as {
    ok: boolean
    steps: readonly { step: string; ok: boolean; detail: string }[]
  }
  assert.ok(!ok)
  const last = steps.at(-1)
  assert.deepEqual(last, { step: 'compare and swap', ok: false, detail: 'cannot be pushed to' })
})
