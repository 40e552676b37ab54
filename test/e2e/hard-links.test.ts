import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { cxv, cxvOk } from '../helpers/cxv.ts'
import { seededBytes } from '../helpers/seeded.ts'
import { tempFolder } from '../helpers/temp.ts'

const sizes = [2_000, 300_000, 6_000_000]

/** A remote that is a folder, with files of one chunk and of several. */
async function pushedTo(t: TestContext, remote?: string): Promise<{ top: string; nas: string }> {
  const top = tempFolder(t)
  const work = join(top, 'work')
  const nas = remote ?? join(top, 'nas')
  mkdirSync(join(work, 'images'), { recursive: true })
  sizes.forEach((size, i) => {
    writeFileSync(join(work, 'images', `${i}.png`), seededBytes(i, size))
  })
  await cxvOk(['init'], work)
  await cxvOk(['add', 'images'], work)
  await cxvOk(['commit', '-m', 'first'], work)
  await cxvOk(['remote', 'add', 'origin', nas], work)
  await cxvOk(['push'], work)
  return { top, nas }
}

/** Inode by the name of a pack. */
const packsOf = (folder: string): Map<string, number> =>
  new Map(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.pack'))
      .map((name) => [name, statSync(join(folder, name)).ino]),
  )

function sameFiles(clone: string): void {
  sizes.forEach((size, i) => {
    const got = readFileSync(join(clone, 'images', `${i}.png`))
    assert.ok(got.equals(seededBytes(i, size)), `${i}.png`)
  })
}

test('a clone of a remote on this disk shares its packs, and outlives it', async (t) => {
  const { top, nas } = await pushedTo(t)
  const clone = join(top, 'clone')
  const said = await cxvOk(['clone', nas, clone], top)
  const packs = packsOf(join(nas, 'packs'))
  assert.ok(packs.size >= 2)
  assert.deepEqual(packsOf(join(clone, '.cxv', 'packs')), packs)
  assert.match(said.stdout, new RegExp(`${packs.size} of ${packs.size} packs shared with file://`))
  sameFiles(clone)
  rmSync(nas, { recursive: true })
  await cxvOk(['fsck'], clone)
  rmSync(join(clone, 'images', '2.png'))
  await cxvOk(['restore', 'images'], clone)
  sameFiles(clone)
})

test('--no-hardlinks copies', async (t) => {
  const { top, nas } = await pushedTo(t)
  const clone = join(top, 'clone')
  const { json } = await cxvOk(['clone', nas, clone, '--no-hardlinks', '--json'], top)
  const fetched = json()['fetch'] as Record<string, unknown>
  assert.deepEqual([fetched['packs'], fetched['packsLinked']], [2, 0])
  const theirs = packsOf(join(nas, 'packs'))
  const ours = packsOf(join(clone, '.cxv', 'packs'))
  assert.deepEqual([...ours.keys()], [...theirs.keys()])
  for (const [name, inode] of ours) assert.notEqual(inode, theirs.get(name))
  sameFiles(clone)
})

test('a pull into a clone copies: only a clone shares', async (t) => {
  const { top, nas } = await pushedTo(t)
  const clone = join(top, 'clone')
  await cxvOk(['clone', nas, clone, '--no-data'], top)
  await cxvOk(['pull'], clone)
  const theirs = packsOf(join(nas, 'packs'))
  for (const [name, inode] of packsOf(join(clone, '.cxv', 'packs'))) {
    assert.notEqual(inode, theirs.get(name))
  }
  sameFiles(clone)
})

test('a damaged pack of the remote is named and not shared', async (t) => {
  const { top, nas } = await pushedTo(t)
  const clone = join(top, 'clone')
  const [large] = [...packsOf(join(nas, 'packs')).keys()]
    .map((name) => ({ name, size: statSync(join(nas, 'packs', name)).size }))
    .sort((a, b) => b.size - a.size)
  assert.ok(large !== undefined)
  const path = join(nas, 'packs', large.name)
  const whole = readFileSync(path)
  const bad = Buffer.from(whole)
  bad[100_000]! ^= 4
  rmSync(path)
  writeFileSync(path, bad)
  const said = await cxv(['clone', nas, clone], top)
  assert.equal(said.status, 14)
  assert.match(said.stderr, new RegExp(large.name.split('/').at(-1) ?? ''))
  assert.ok(!packsOf(join(clone, '.cxv', 'packs')).has(large.name))
  rmSync(path)
  writeFileSync(path, whole)
  await cxvOk(['clone', nas, clone], top)
  sameFiles(clone)
})

const MEMORY = '/dev/shm'
const skip = existsSync(MEMORY) ? false : `there is no second file system at ${MEMORY}`

test('a remote on another file system is copied', { skip }, async (t) => {
  const there = mkdtempSync(join(MEMORY, 'cxv-hard-links-'))
  t.after(() => rmSync(there, { recursive: true }))
  const { top, nas } = await pushedTo(t, join(there, 'nas'))
  const clone = join(top, 'clone')
  const { json } = await cxvOk(['clone', nas, clone, '--json'], top)
  assert.equal((json()['fetch'] as Record<string, unknown>)['packsLinked'], 0)
  sameFiles(clone)
  await cxvOk(['fsck'], clone)
})
