import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { PACK_FOOTER_BYTES } from '../../src/format/index.ts'
import { at, list, type Machine, machine, number, program, text } from '../helpers/cli.ts'
import { packTable } from '../helpers/pack-bytes.ts'
import { seededBytes } from '../helpers/seeded.ts'
import { type CleanUp, tempFolder } from '../helpers/temp.ts'
import { makeTrainable } from '../helpers/tiny-run.ts'

const FILES = 3

/** A committed repository of three files in one pack, with a remote nothing was pushed to. */
async function committed(t: CleanUp): Promise<{ ada: Machine; work: string; pack: string }> {
  const top = tempFolder(t, 'fsck')
  const ada = machine(join(top, 'home'))
  const work = join(top, 'work')
  mkdirSync(work)
  for (let i = 0; i < FILES; i++) {
    writeFileSync(join(work, `${i}.bin`), seededBytes(i + 1, 3000))
  }
  await ada.ok(work, 'init')
  await ada.ok(work, 'add', '.')
  await ada.ok(work, 'commit', '-m', 'first')
  await ada.ok(work, 'remote', 'add', 'nas', join(top, 'nas'))
  const [pack = ''] = packsOf(work)
  return { ada, work, pack }
}

const packsOf = (work: string): readonly string[] =>
  readdirSync(join(work, '.cxv', 'packs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.pack'))
    .map((name) => join(work, '.cxv', 'packs', name))

function flip(path: string, offset: number): void {
  const bytes = readFileSync(path)
  const from = offset < 0 ? bytes.length + offset : offset
  bytes[from] = (bytes[from] ?? 0) ^ 0x10
  writeFileSync(path, bytes)
}

test('a pack whose table is damaged is never clean: fsck and push name it and the cure', async (t) => {
  const { ada, work, pack } = await committed(t)
  const id = pack.slice(-69, -5)
  flip(pack, -(PACK_FOOTER_BYTES + 20))

  for (const options of [[], ['--quick']]) {
    const said = await ada.cxv(work, 'fsck', ...options)
    assert.equal(said.status, 14, said.stdout)
    assert.match(said.stdout, new RegExp(`pack ${id.slice(0, 12)} is damaged.*3 frames`))
    assert.match(said.stdout, /cxv fsck --repair/)
    assert.doesNotMatch(said.stdout, /clean/)
  }
  const push = await ada.fails(work, 'push')
  assert.equal(push.code, 'PACK_CORRUPT')
  assert.ok(push.message.includes(id), push.message)
  assert.match(push.hint, /cxv fsck --repair/)

  const repaired = await ada.cxv(work, 'fsck', '--repair')
  assert.equal(repaired.status, 14)
  assert.match(repaired.stdout, /3 frames kept/)
  assert.match(repaired.stdout, /nothing was lost/)
  assert.match(await ada.ok(work, 'fsck'), /clean/)
  await ada.ok(work, 'push')
})

test('a bit flip in a stored file: fsck names it, and only --quick says that it did not look', async (t) => {
  const { ada, work, pack } = await committed(t)
  const [, second] = packTable(readFileSync(pack))
  assert.ok(second !== undefined)
  flip(pack, second.offset + second.storedLength)

  const { stdout, status } = await ada.cxv(work, 'fsck', '--json')
  assert.equal(status, 14)
  const report: unknown = JSON.parse(stdout)
  assert.equal(at(report, 'clean'), false)
  assert.equal(number(report, 'store', 'damaged', 0, 'readable'), FILES - 1)
  assert.equal(list(report, 'lostFiles').length, 1)
  assert.match(text(report, 'lostFiles', 0, 'path'), /^\d\.bin$/)
  assert.equal(text(report, 'lostFiles', 0, 'reason'), 'corrupt')

  const quick = await ada.ok(work, 'fsck', '--quick')
  assert.match(quick, /no file's bytes were read/)
  assert.doesNotMatch(quick, /checked/)
})

test('a flip in data that only a run reaches, sealed or not, is found', async (t) => {
  const top = tempFolder(t, 'fsck-run')
  const ada = machine(join(top, 'home'))
  const work = join(top, 'work')
  await makeTrainable(ada, work)
  const notes = seededBytes(9, 4000)
  writeFileSync(join(work, 'notes.txt'), notes)
  const run = await ada.json(work, 'run', '--allow-dirty')
  assert.match(await ada.ok(work, 'fsck'), /clean/)
  flipContent(work, createHash('sha256').update(notes).digest())

  const lost = async (): Promise<void> => {
    const { stdout, status } = await ada.cxv(work, 'fsck', '--json')
    assert.equal(status, 14)
    const report: unknown = JSON.parse(stdout)
    assert.equal(list(report, 'lostFiles').length, 1)
    assert.equal(text(report, 'lostFiles', 0, 'path'), 'notes.txt')
    assert.equal(text(report, 'lostFiles', 0, 'commit'), text(run, 'commit'))
  }
  await lost()
  // As an interrupted run is: known by its folder alone.
  const ref = `refs/runs/${text(run, 'run')}`
  await program('git', ['--git-dir', join(work, '.cxv/git'), 'update-ref', '-d', ref])
  await lost()
})

test('a damaged commit that several refs reach does not stop fsck', async (t) => {
  const { ada, work } = await committed(t)
  await ada.ok(work, 'tag', 'v1')
  await ada.ok(work, 'branch', 'other')
  const git = join(work, '.cxv', 'git', 'objects', 'pack')
  for (const name of readdirSync(git)) flip(join(git, name), 40)
  const { stdout, stderr, status } = await ada.cxv(work, 'fsck')
  assert.equal(status, 14, stderr)
  assert.match(stdout, /history: refs\/heads\/main/)
})

/** Spoils the stored bytes of one content. */
function flipContent(work: string, id: Uint8Array): void {
  for (const pack of packsOf(work)) {
    const found = packTable(readFileSync(pack)).find((e) => Buffer.compare(e.id, id) === 0)
    if (found !== undefined) return flip(pack, found.offset + found.storedLength)
  }
  assert.fail('no pack holds the content')
}
