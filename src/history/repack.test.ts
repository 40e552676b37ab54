import assert from 'node:assert/strict'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { CommitId } from '../base/index.ts'
import { createHistory, openHistory } from './index.ts'
import type { History } from './types.ts'

const top = mkdtempSync(join(tmpdir(), 'cxv-repack-'))
after(() => rmSync(top, { recursive: true, force: true }))

const record = (history: History, n: number): Promise<CommitId> =>
  history.writeRecordCommit({
    files: new Map([['n', Buffer.from(String(n))]]),
    parents: [],
    message: `n ${n}`,
    author: { name: 'a', email: 'a@b' },
    timeMs: 0,
    zoneMinutes: 0,
  })

const packsIn = (folder: string): string[] =>
  readdirSync(join(folder, 'objects', 'pack')).filter((name) => name.endsWith('.pack'))

test('many small packs become one, and every reader still finds every object', async () => {
  const folder = mkdtempSync(join(top, 'git-'))
  const history = await createHistory(folder, 'main')
  const ids: CommitId[] = []
  for (let i = 0; i < 40; i++) ids.push(await record(history, i))
  const early = await openHistory(folder)
  assert.equal((await early.facts(ids[0] as CommitId)).message, 'n 0')
  assert.equal(packsIn(folder).length, 40)
  for (let i = 40; i < 200; i++) ids.push(await record(history, i))
  assert.ok(packsIn(folder).length <= 51, `${packsIn(folder).length} packs`)
  for (const reader of [early, history, await openHistory(folder)]) {
    for (const [i, id] of ids.entries()) assert.equal((await reader.facts(id)).message, `n ${i}`)
  }
})

test('what a killed process left goes, once it is old; what is new stays', async () => {
  const folder = mkdtempSync(join(top, 'git-'))
  const history = await createHistory(folder, 'main')
  const pack = (name: string): string => join(folder, 'objects', 'pack', name)
  const names = [`pack-${'a'.repeat(40)}.pack`, `pack-${'b'.repeat(40)}.pack`]
  names.push('loose.tmp-1-abc-1', 'loose.tmp-2-abc-1', 'notes.txt')
  for (const [i, name] of names.entries()) {
    writeFileSync(pack(name), 'x')
    if (i % 2 === 0) utimesSync(pack(name), 0, 0)
  }
  for (let i = 0; i < 51; i++) await record(history, i)
  const left = readdirSync(join(folder, 'objects', 'pack'))
  assert.deepEqual(
    names.filter((name) => left.includes(name)),
    [names[1], names[3], 'notes.txt'],
  )
})

test('a damaged pack is left as it is: its sound twin is what lives on', async () => {
  const folder = mkdtempSync(join(top, 'git-'))
  const history = await createHistory(folder, 'main')
  const id = await record(history, 0)
  const [name = ''] = packsIn(folder)
  const path = join(folder, 'objects', 'pack', name)
  const bytes = readFileSync(path)
  // The same objects, a byte wrong: git names packs by their bytes, so the twin has another name.
  const twin = join(folder, 'objects', 'pack', `pack-${'f'.repeat(40)}`)
  const bad = Buffer.from(bytes)
  bad[20]! ^= 0x40
  writeFileSync(`${twin}.pack`, bad)
  writeFileSync(`${twin}.idx`, readFileSync(path.replace(/pack$/, 'idx')))
  for (let i = 1; i < 60; i++) await record(history, i)
  assert.ok(packsIn(folder).length < 20)
  assert.ok(existsSync(`${twin}.pack`))
  const reader = await openHistory(folder)
  assert.equal((await reader.facts(id)).message, 'n 0')
  assert.deepEqual(
    (await reader.damagedFiles()).map(({ file }) => file),
    [`objects/pack/pack-${'f'.repeat(40)}.pack`],
  )
})
