import assert from 'node:assert/strict'
import {
  cpSync,
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

const top = mkdtempSync(join(tmpdir(), 'cxv-sync-crash-'))
after(() => rmSync(top, { recursive: true, force: true }))

/** Each kill costs four processes, so a few steps of each verb, others every time. */
const KILLS = 7
const seed = Number(process.env['CXV_TEST_SEED'] ?? Date.now() % 100_000)

/** Steps to be killed at: spread over the verb, from a random first one. */
const steps = (most: number): number[] =>
  Array.from({ length: KILLS }, (_, i) => 1 + ((seed + i * Math.ceil(most / KILLS)) % most))

async function laptopAndNas(): Promise<{ laptop: string; nas: string }> {
  const folder = mkdtempSync(join(top, 'scene-'))
  const laptop = join(folder, 'laptop')
  mkdirSync(join(laptop, 'images'), { recursive: true })
  for (let i = 0; i < 20; i++)
    writeFileSync(join(laptop, 'images', `${i}.png`), seededBytes(i, 3000))
  writeFileSync(join(laptop, 'images', 'big.dcm'), seededBytes(77, 5_000_000))
  await cxvOk(['init'], laptop)
  await cxvOk(['add', 'images'], laptop)
  await cxvOk(['commit', '-m', 'first'], laptop)
  await cxvOk(['remote', 'add', 'nas', join(folder, 'nas')], laptop)
  return { laptop, nas: join(folder, 'nas') }
}

function sameImages(a: string, b: string): void {
  const names = readdirSync(join(a, 'images')).sort()
  assert.deepEqual(readdirSync(join(b, 'images')).sort(), names)
  for (const name of names) {
    assert.deepEqual(
      readFileSync(join(a, 'images', name)),
      readFileSync(join(b, 'images', name)),
      name,
    )
  }
}

async function clean(folder: string, when: string): Promise<void> {
  const fsck = await cxv(['fsck'], folder)
  assert.equal(fsck.status, 0, `${when}: ${fsck.stdout}${fsck.stderr}`)
}

const killed = (step: number) => ({ CXV_TEST_KILL_AT: String(step) })

test(`a push killed at any step is finished by the next (seed ${seed})`, async () => {
  const { laptop, nas } = await laptopAndNas()
  let kills = 0
  for (const step of steps(40)) {
    rmSync(nas, { recursive: true, force: true })
    rmSync(join(laptop, '.cxv', 'cache'), { recursive: true, force: true })
    const run = await cxv(['push'], laptop, killed(step))
    if (run.signal === 'SIGKILL') kills++
    await clean(laptop, `push killed at ${step}`)
    await cxvOk(['push'], laptop)
    const reader = join(top, `reader-${step}`)
    rmSync(reader, { recursive: true, force: true })
    await cxvOk(['clone', nas, reader], top)
    sameImages(laptop, reader)
  }
  assert.ok(kills >= 2, `${kills} of ${KILLS} were killed`)
})

test(`a clone killed at any step is finished by the same command, or by pull (seed ${seed})`, async () => {
  const { laptop, nas } = await laptopAndNas()
  await cxvOk(['push'], laptop)
  let kills = 0
  for (const [i, step] of steps(60).entries()) {
    const folder = join(top, `clone-${i}`)
    const run = await cxv(['clone', nas, folder], top, killed(step))
    if (run.signal === 'SIGKILL') kills++
    const last = run.signal === 'SIGKILL' ? await cxv(['pull'], folder) : undefined
    // Before the configuration is written there is no repository to pull in yet.
    if (last === undefined || last.status !== 0) {
      if (last !== undefined) await cxvOk(['clone', nas, folder], top)
    }
    sameImages(laptop, folder)
    await clean(folder, `clone killed at ${step}`)
    assert.match((await cxvOk(['status'], folder)).stdout, /nothing to commit/)
  }
  assert.ok(kills >= 2, `${kills} of ${KILLS} were killed`)
})

test(`a pull killed at any step is finished by the next (seed ${seed})`, async () => {
  const { laptop, nas } = await laptopAndNas()
  await cxvOk(['push'], laptop)
  const before = join(top, 'before')
  await cxvOk(['clone', nas, before], top)
  for (let i = 10; i < 25; i++)
    writeFileSync(join(laptop, 'images', `${i}.png`), seededBytes(500 + i, 2500))
  writeFileSync(join(laptop, 'images', 'two.dcm'), seededBytes(78, 4_000_000))
  await cxvOk(['add', 'images'], laptop)
  await cxvOk(['commit', '-m', 'second'], laptop)
  await cxvOk(['push'], laptop)
  let kills = 0
  for (const [i, step] of steps(50).entries()) {
    const folder = join(top, `pull-${i}`)
    cpSync(before, folder, { recursive: true, preserveTimestamps: true })
    const run = await cxv(['pull'], folder, killed(step))
    if (run.signal === 'SIGKILL') kills++
    await clean(folder, `pull killed at ${step}`)
    await cxvOk(['pull'], folder)
    sameImages(laptop, folder)
    await clean(folder, `pull after a kill at ${step}`)
  }
  assert.ok(kills >= 2, `${kills} of ${KILLS} were killed`)
})
