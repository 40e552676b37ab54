import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CommitId, commitId, isCxvError, packId, utf8 } from '../../src/base/index.ts'
import {
  decodeFragment,
  encodeFragment,
  encodeRemoteRef,
  type FragmentEntry,
} from '../../src/format/index.ts'
import { fetchRemote } from '../../src/sync/index.ts'
import { push } from '../../src/sync/index.ts'
import { memoryBackend } from '../helpers/backends.ts'
import { type BareRepo, bareRepo, randomFile } from '../helpers/bare-repo.ts'
import { testContext } from '../helpers/context.ts'

const ctx = testContext()

interface Scene {
  readonly victim: BareRepo
  readonly source: BareRepo
  readonly objects: Map<string, Uint8Array>
  readonly commit: CommitId
}

/** A sound remote, made hostile by `spoil`; the fetch must fail with this code and change no ref. */
function hostile(what: string, spoil: (scene: Scene) => Promise<void> | void, names: RegExp): void {
  void test(`a remote that ${what}`, async () => {
    const objects = new Map<string, Uint8Array>()
    const source = await bareRepo()
    const victim = await bareRepo()
    try {
      const mine = await victim.commit({ mine: randomFile(100) })
      await source.commit({ old: randomFile(50) })
      const commit = await source.commit({ a: randomFile(3000), b: randomFile(5_000_000) })
      const backend = memoryBackend(objects)
      await push(ctx, source, { name: 'origin', backend })
      await spoil({ victim, source, objects, commit })
      const before = await victim.history.refs('refs/')
      await assert.rejects(
        fetchRemote(ctx, victim, { name: 'origin', backend }, { data: true }),
        (error) => {
          assert.ok(isCxvError(error), String(error))
          assert.ok(
            ['REMOTE_CORRUPT', 'REMOTE_LACKS', 'REPO_FORMAT'].includes(error.code),
            error.code,
          )
          assert.match(error.message, names)
          return true
        },
      )
      assert.deepEqual(await victim.history.refs('refs/'), before)
      assert.deepEqual(await victim.history.check(), [])
      assert.equal((await victim.history.head()).commit, mine)
      const report = await (await victim.store()).verify([], { deep: true, repair: false })
      assert.deepEqual(report.setAside, [])
    } finally {
      await source.remove()
      await victim.remove()
    }
  })
}

const keyUnder = (objects: Map<string, Uint8Array>, prefix: string): string => {
  const found = [...objects.keys()].find((key) => key.startsWith(prefix))
  assert.ok(found !== undefined, prefix)
  return found
}

function flip(objects: Map<string, Uint8Array>, key: string, at: number): void {
  const bytes = Uint8Array.from(objects.get(key) ?? [])
  const place = at < 0 ? bytes.length + at : at
  bytes[place] = (bytes[place] ?? 0) ^ 0x10
  objects.set(key, bytes)
}

const refTo = (commit: string): Uint8Array =>
  encodeRemoteRef({ commit: commitId(commit), seq: 9, pushId: 'f'.repeat(32), prev: null })

hostile(
  'names a commit that it does not have',
  ({ objects }) => void objects.set('refs/heads/evil', refTo('1'.repeat(40))),
  /refs\/heads\/evil/,
)
hostile(
  'has a ref that is not JSON',
  ({ objects }) => void objects.set('refs/heads/evil', utf8('<html>')),
  /refs\/heads\/evil/,
)
hostile(
  'has a ref without end',
  ({ objects }) => void objects.set('refs/heads/evil', new Uint8Array(1_000_000)),
  /refs\/heads\/evil/,
)
hostile(
  'has a format of the future',
  ({ objects }) =>
    void objects.set('cxv-remote.json', utf8('{"format":2,"head":"refs/heads/main"}')),
  /format 2/,
)
hostile(
  'calls a run a branch',
  async ({ source, objects, commit }) => {
    const run = await source.run('r00000000009', commit, {})
    await push(ctx, source, { name: 'origin', backend: memoryBackend(objects) })
    objects.set('refs/heads/evil', refTo(run))
  },
  /refs\/heads\/evil/,
)
hostile(
  'flips a bit of a pack',
  ({ objects }) => {
    for (const key of objects.keys()) if (key.startsWith('packs/')) flip(objects, key, 2000)
  },
  /packs\//,
)
hostile(
  'has lost a pack',
  ({ objects }) => void objects.delete(keyUnder(objects, 'packs/')),
  /packs\//,
)
hostile(
  'cuts a pack short',
  ({ objects }) => {
    for (const key of [...objects.keys()].filter((k) => k.startsWith('packs/'))) {
      objects.set(key, (objects.get(key) ?? new Uint8Array(0)).subarray(0, 100))
    }
  },
  /packs\//,
)
hostile(
  'flips a bit of its index',
  ({ objects }) => flip(objects, keyUnder(objects, 'index/'), 40),
  /index\//,
)
hostile(
  'has lost its index',
  ({ objects }) => void objects.delete(keyUnder(objects, 'index/')),
  /lacks the bytes of .* (a|b|old)/,
)
hostile(
  'flips a bit of its history',
  ({ objects }) => flip(objects, keyUnder(objects, 'git/'), -30),
  /git\//,
)
hostile(
  'gives one file for another',
  async ({ objects }) => {
    // The index, soundly named, swaps the places of all chunks.
    const { createHash } = await import('node:crypto')
    for (const key of [...objects.keys()].filter((k) => k.startsWith('index/'))) {
      const fragment = decodeFragment(objects.get(key) ?? new Uint8Array(0))
      const entries = Array.from({ length: fragment.count }, (_, i) => fragment.entry(i))
      const places = [...entries.slice(1), ...entries.slice(0, 1)]
      const swapped = entries.map((entry, i): FragmentEntry => ({
        ...(places[i] ?? entry),
        id: entry.id,
        kind: entry.kind,
      }))
      objects.delete(key)
      const bytes = encodeFragment(
        // Larger than they are, so that single frames are asked for.
        fragment.packs.map((pack) => ({ ...pack, size: 60_000_000 })),
        swapped,
      )
      objects.set(`index/${createHash('sha256').update(bytes).digest('hex')}.idx`, bytes)
    }
  },
  /packs\//,
)

void test('fragments that make no sense are refused', () => {
  const pack = { id: packId('ab'.repeat(32)), size: 1000, kind: 'data' as const }
  const entry: FragmentEntry = {
    kind: 'chunk',
    id: new Uint8Array(32).fill(7),
    pack: 0,
    offset: 8,
    length: 100,
    plainLength: 44,
  }
  const good = encodeFragment([pack], [entry, { ...entry, id: new Uint8Array(32).fill(9) }])
  assert.equal(decodeFragment(good).count, 2)
  const bad: [string, FragmentEntry[]][] = [
    ['beyond the pack', [{ ...entry, offset: 950 }]],
    ['no such pack', [{ ...entry, pack: 1 }]],
    ['shorter than a header', [{ ...entry, length: 10 }]],
    ['a bomb', [{ ...entry, plainLength: 4_000_000_000 }]],
    ['twice', [entry, entry]],
  ]
  for (const [what, entries] of bad) {
    assert.throws(
      () => decodeFragment(encodeFragment([pack], entries)),
      (e) => isCxvError(e, 'FORMAT_INVALID'),
      what,
    )
  }
  for (let at = 0; at < 16; at++) {
    const spoiled = Uint8Array.from(good)
    spoiled[at] = (spoiled[at] ?? 0) ^ 0xff
    assert.throws(
      () => decodeFragment(spoiled),
      (e) => isCxvError(e, 'FORMAT_INVALID'),
      `${at}`,
    )
  }
})
