import assert from 'node:assert/strict'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { withRetry } from '../backend/index.ts'
import type { Backend } from '../backend/types.ts'
import { type CommitId, isCxvError } from '../base/index.ts'
import { counting, faulty, memoryBackend } from '../../test/helpers/backends.ts'
import { type BareRepo, bareRepo, commitMany, randomFile } from '../../test/helpers/bare-repo.ts'
import { testContext } from '../../test/helpers/context.ts'
import { fetchRemote, push } from './index.ts'

interface Stage {
  readonly a: BareRepo
  readonly b: BareRepo
  readonly objects: Map<string, Uint8Array>
  readonly backend: ReturnType<typeof counting>
}

function scene(what: string, fn: (stage: Stage) => Promise<void>): void {
  void test(what, async () => {
    const objects = new Map<string, Uint8Array>()
    const stage = {
      a: await bareRepo(),
      b: await bareRepo(),
      objects,
      backend: counting(memoryBackend(objects)),
    }
    try {
      await fn(stage)
    } finally {
      await stage.a.remove()
      await stage.b.remove()
    }
  })
}

const ctx = testContext()
const origin = (backend: Backend) => ({ name: 'origin', backend })

/** Every file of the commit reads back in `to` as it is in `from`. */
async function sameFiles(from: BareRepo, to: BareRepo, commit: CommitId): Promise<void> {
  const rows = await from.history.manifest(commit)
  assert.deepEqual(await to.history.manifest(commit), rows)
  const ids = rows.map(({ id }) => id)
  assert.deepEqual(await (await to.store()).missing(ids), new Set())
  for (const row of rows.slice(0, 20)) {
    assert.deepEqual(await (await to.store()).read(row.id), await (await from.store()).read(row.id))
  }
}

scene(
  'what one pushes another fetches: small files, large files, runs, tags',
  async ({ a, b, backend }) => {
    const c = await a.commit({
      'a.png': randomFile(5000),
      empty: new Uint8Array(0),
      'big.dcm': randomFile(9_000_000),
    })
    const run = await a.run('r00000000001', c, { 'weights.bin': randomFile(2_500_000) })
    await a.history.casRef('refs/tags/v1', null, c, 'tag')
    const pushed = await push(ctx, a, origin(backend))
    assert.deepEqual(
      pushed.refs.map(({ ref, status }) => `${ref} ${status}`),
      ['refs/heads/main created', 'refs/tags/v1 created', 'refs/runs/r00000000001 created'],
    )
    const got = await fetchRemote(ctx, b, origin(backend), { data: true })
    assert.equal(got.runs, 1)
    assert.equal(await b.history.ref('refs/remotes/origin/main'), c)
    assert.equal(await b.history.ref('refs/tags/v1'), c)
    assert.equal(await b.history.ref('refs/runs/r00000000001'), run)
    await sameFiles(a, b, c)
    assert.deepEqual(await b.history.check(), [])
  },
)

scene(
  'budget: a push of 1,000 small files is 6 puts, the next no-op 2 requests',
  async ({ a, b, backend }) => {
    await commitMany(a, 1000)
    await push(ctx, a, origin(backend))
    const puts = backend.calls.filter(({ method }) => method === 'put').map(({ key }) => key)
    assert.ok(puts.length <= 6, puts.join())
    // The last thing written is the ref.
    assert.equal(puts.at(-1), 'refs/heads/main')
    await push(ctx, a, origin(backend))
    backend.calls.length = 0
    const again = await push(ctx, a, origin(backend))
    assert.equal(again.refs[0]?.status, 'up to date')
    assert.ok(backend.calls.length <= 2, JSON.stringify(backend.calls))
    backend.calls.length = 0
    await fetchRemote(ctx, b, origin(backend), { data: true })
    assert.ok(backend.calls.length <= 10, JSON.stringify(backend.calls))
    backend.calls.length = 0
    await fetchRemote(ctx, b, origin(backend), { data: true })
    assert.ok(backend.calls.length <= 2, JSON.stringify(backend.calls))
  },
)

scene('a second push sends only what is new', async ({ a, b, backend }) => {
  await a.commit({ x: randomFile(3_000_000) })
  await push(ctx, a, origin(backend))
  const c = await a.commit({ y: randomFile(1000) })
  backend.calls.length = 0
  const result = await push(ctx, a, origin(backend))
  assert.equal(result.contents, 1)
  const sent = backend.calls.reduce(
    (sum, call) => sum + (call.method === 'put' ? call.bytes : 0),
    0,
  )
  assert.ok(sent < 10_000, `${sent} bytes`)
  await fetchRemote(ctx, b, origin(backend), { data: true })
  await sameFiles(a, b, c)
})

scene(
  "a branch's data is sent although its recipes came with another branch's pack",
  async ({ a, b, backend }) => {
    const one = await a.commit({ one: randomFile(6_000_000) }, { branch: 'main' })
    const two = await a.commit({ two: randomFile(6_000_000) }, { branch: 'other', from: null })
    await push(ctx, a, origin(backend), { branches: ['main'] })
    await push(ctx, a, origin(backend), { branches: ['other'] })
    await fetchRemote(ctx, b, origin(backend), { data: true })
    await sameFiles(a, b, one)
    await sameFiles(a, b, two)
  },
)

scene('history only, then the bytes', async ({ a, b, backend }) => {
  const c = await a.commit({ x: randomFile(2_000_000), y: randomFile(100) })
  await push(ctx, a, origin(backend))
  const got = await fetchRemote(ctx, b, origin(backend), { data: false })
  assert.equal(got.bytes, 0)
  assert.equal((await (await b.store()).stats()).packs, 0)
  assert.equal(await b.history.ref('refs/remotes/origin/main'), c)
  await fetchRemote(ctx, b, origin(backend), { data: true })
  await sameFiles(a, b, c)
  // Without the bytes one can still push on: they are on the remote.
})

scene('a rejected push says what differs, and nothing of it is seen', async ({ a, b, backend }) => {
  await a.commit({ x: randomFile(100), z: randomFile(50) })
  await push(ctx, a, origin(backend))
  await fetchRemote(ctx, b, origin(backend), { data: true })
  const base = await b.history.ref('refs/remotes/origin/main')
  const mine = await b.commit({ x: randomFile(101), y: randomFile(10) }, { from: base })
  const theirs = await a.commit({ z: randomFile(51) })
  await push(ctx, a, origin(backend))
  await assert.rejects(push(ctx, b, origin(backend)), (error) => {
    assert.ok(isCxvError(error, 'NOT_FAST_FORWARD'), String(error))
    const { ahead, behind, added, changed, removed } = error.data
    assert.deepEqual([ahead, behind, added, changed, removed], [1, 1, 0, 2, 1])
    return true
  })
  const fetched = await fetchRemote(ctx, b, origin(backend), { data: true })
  assert.equal(fetched.refs[0]?.to, theirs)
  assert.equal(await b.history.ref('refs/heads/main'), mine)
})

scene('of two pushers racing exactly one wins, and nothing is lost', async ({ a, b, backend }) => {
  await a.commit({ x: randomFile(100) })
  await push(ctx, a, origin(backend))
  await fetchRemote(ctx, b, origin(backend), { data: true })
  const base = await b.history.ref('refs/remotes/origin/main')
  const fromA = await a.commit({ a: randomFile(500_000) })
  const fromB = await b.commit({ b: randomFile(500_000) }, { from: base })
  const results = await Promise.allSettled([
    push(ctx, a, origin(backend)),
    push(ctx, b, origin(backend)),
  ])
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  const failed = results.find((r) => r.status === 'rejected')
  assert.ok(failed !== undefined && isCxvError(failed.reason, 'NOT_FAST_FORWARD'))
  const winner =
    results[0].status === 'fulfilled' ? { repo: a, commit: fromA } : { repo: b, commit: fromB }
  const other = await bareRepo()
  try {
    await fetchRemote(ctx, other, origin(backend), { data: true })
    assert.equal(await other.history.ref('refs/remotes/origin/main'), winner.commit)
    await sameFiles(winner.repo, other, winner.commit)
  } finally {
    await other.remove()
  }
})

scene('lost answers change nothing: a push that won knows it', async ({ a, b, objects }) => {
  const c = await a.commit({ x: randomFile(3_000_000) })
  const run = await a.run('r00000000002', c, { w: randomFile(10) })
  const lossy = faulty(memoryBackend(objects), (_method, _key, nth) =>
    nth % 3 === 1 ? 'after' : nth % 7 === 3 ? 'before' : undefined,
  )
  const backend = withRetry(ctx, lossy, { attempts: 8, firstWaitMs: 0 })
  const result = await push(ctx, a, origin(backend))
  assert.ok(lossy.faults() > 3)
  assert.equal(result.refs.length, 2)
  await fetchRemote(ctx, b, origin(backend), { data: true })
  assert.equal(await b.history.ref('refs/runs/r00000000002'), run)
  await sameFiles(a, b, c)
})

scene('a push stopped at every request is finished by the next', async ({ a }) => {
  const c = await a.commit({ x: randomFile(5_000_000), y: randomFile(200) })
  await a.run('r00000000003', c, { w: randomFile(3_000_000) })
  for (let at = 0; ; at++) {
    const objects = new Map<string, Uint8Array>()
    const cut = faulty(memoryBackend(objects), (_m, _k, nth) =>
      nth === at ? (at % 2 === 0 ? 'before' : 'after') : undefined,
    )
    await push(ctx, a, origin(cut)).catch((error: unknown) =>
      assert.ok(isCxvError(error, 'REMOTE_FAILED'), String(error)),
    )
    if (cut.faults() === 0) {
      assert.ok(at >= 10, `${at} requests`)
      break
    }
    const reader = await bareRepo()
    try {
      // Whatever a reader sees now is whole.
      await fetchRemote(ctx, reader, origin(memoryBackend(objects)), { data: true }).catch(
        (error: unknown) => assert.ok(isCxvError(error, 'REMOTE_EMPTY'), String(error)),
      )
      await push(ctx, a, origin(memoryBackend(objects)))
      await fetchRemote(ctx, reader, origin(memoryBackend(objects)), { data: true })
      await sameFiles(a, reader, c)
    } finally {
      await reader.remove()
    }
  }
})

scene('packs that arrived before a stop are not sent again', async ({ a, objects }) => {
  // Six packs of 5 MB: whole ones.
  for (let i = 0; i < 6; i++)
    await a.commit({ [`f${i}`]: randomFile(1_000_000), [`g${i}`]: randomFile(4_800_000) })
  let packs = 0
  const cut = faulty(memoryBackend(objects), (method, key) =>
    method === 'put' && key.startsWith('packs/') && ++packs === 4 ? 'before' : undefined,
  )
  await assert.rejects(push(ctx, a, origin(cut)))
  const there = [...objects.keys()].filter((key) => key.startsWith('packs/')).length
  assert.ok(there >= 3)
  const result = await push(ctx, a, origin(memoryBackend(objects)))
  assert.equal(result.packsAlreadyThere, there)
})

scene(
  'a fetch stopped at every request is finished by the next',
  async ({ a, b, backend, objects }) => {
    const c = await a.commit({ x: randomFile(5_000_000), y: randomFile(200) })
    await a.run('r00000000004', c, { w: randomFile(3_000_000) })
    await push(ctx, a, origin(backend))
    for (let at = 0; ; at++) {
      const cut = faulty(memoryBackend(objects), (_m, _k, nth) =>
        nth === at ? 'before' : undefined,
      )
      try {
        await fetchRemote(ctx, b, origin(cut), { data: true })
        if (cut.faults() === 0) break
      } catch (error) {
        assert.ok(isCxvError(error, 'REMOTE_FAILED'), String(error))
      }
      assert.deepEqual(await b.history.check(), [])
    }
    await sameFiles(a, b, c)
  },
)

scene(
  'recheck finds what the remote lost, and sends it again',
  async ({ a, b, backend, objects }) => {
    const c = await a.commit({ x: randomFile(5_000_000), y: randomFile(200) })
    await push(ctx, a, origin(backend))
    const [first, second] = [...objects.keys()].filter((key) => key.startsWith('packs/'))
    objects.delete(first ?? '')
    if (second !== undefined)
      objects.set(second, (objects.get(second) ?? new Uint8Array(9)).subarray(0, 9))
    await assert.rejects(fetchRemote(ctx, b, origin(backend), { data: true }), (e) =>
      isCxvError(e, 'REMOTE_CORRUPT'),
    )
    assert.equal(await b.history.ref('refs/remotes/origin/main'), null)
    assert.equal((await push(ctx, a, origin(backend))).packs, 0)
    const mended = await push(ctx, a, origin(backend), { recheck: true })
    assert.ok(mended.packsLost >= 1 && mended.packs >= 1, JSON.stringify(mended))
    await fetchRemote(ctx, b, origin(backend), { data: true })
    await sameFiles(a, b, c)
  },
)

scene('a dry run sends nothing', async ({ a, backend, objects }) => {
  await a.commit({ x: randomFile(5000) })
  const result = await push(ctx, a, origin(backend), { dryRun: true })
  assert.equal(result.contents, 1)
  assert.ok(result.bytes > 5000)
  assert.equal(objects.size, 0)
})

scene('bytes that are nowhere are named by path', async ({ a, b, backend }) => {
  await a.commit({ 'images/1.png': randomFile(500) })
  await push(ctx, a, origin(backend))
  await fetchRemote(ctx, b, origin(backend), { data: false })
  const tip = await b.history.ref('refs/remotes/origin/main')
  await b.history.casRef('refs/heads/main', null, tip, 'test')
  // To its own remote nothing is lacking; another one cannot be given what is not here.
  assert.equal((await push(ctx, b, origin(backend))).refs[0]?.status, 'up to date')
  await assert.rejects(push(ctx, b, { name: 'backup', backend: memoryBackend() }), (error) => {
    assert.ok(isCxvError(error, 'REMOTE_LACKS'))
    assert.match(error.message, /images\/1\.png/)
    return true
  })
})

scene(
  'a place with other things in it does not become a remote',
  async ({ a, objects, backend }) => {
    objects.set('thesis.tex', randomFile(10))
    await a.commit({ x: randomFile(10) })
    await assert.rejects(push(ctx, a, origin(backend)), (e) => isCxvError(e, 'REMOTE_INVALID'))
    assert.deepEqual([...objects.keys()], ['thesis.tex'])
  },
)

scene('a little of a large pack is fetched by ranges', async ({ a, b, backend }) => {
  const files = Object.fromEntries(
    Array.from({ length: 12 }, (_, i) => [`f${i}`, randomFile(900_000)]),
  )
  const { writeFile } = await import('node:fs/promises')
  const { join } = await import('node:path')
  const list = []
  for (const [path, bytes] of Object.entries(files)) {
    await writeFile(join(a.root, path), bytes)
    list.push({ path, absolutePath: join(a.root, path) })
  }
  // In one pack first, then a commit that names one of them only, then all.
  for await (const batch of (await a.store()).addFiles(list)) assert.ok(batch)
  await a.commit({ f5: files['f5'] ?? randomFile(1) }, { branch: 'one' })
  const all = await a.commit(files)
  await push(ctx, a, origin(backend), { branches: ['main'] })
  await push(ctx, a, origin(backend), { branches: ['one'] })
  backend.calls.length = 0
  const got = await fetchRemote(ctx, b, origin(backend), { data: true, branches: ['one'] })
  assert.ok(got.bytes < 2_000_000, `${got.bytes} bytes`)
  await fetchRemote(ctx, b, origin(backend), { data: true })
  await sameFiles(a, b, all)
})

/** Flips one bit of these bytes in the pack that has them, then stores them anew. */
async function rotAndHeal(repo: BareRepo, bytes: Uint8Array): Promise<void> {
  const store = await repo.store()
  for (const pack of await store.packs()) {
    const file = readFileSync(store.packPath(pack))
    const at = file.indexOf(bytes.subarray(0, 500))
    if (at < 0) continue
    file[at]! ^= 1
    chmodSync(store.packPath(pack), 0o644)
    writeFileSync(store.packPath(pack), file)
  }
  await store.put(bytes)
}

scene('what was healed is pushed from where it is whole', async ({ a, b, backend }) => {
  const small = Array.from({ length: 6 }, () => randomFile(5_000))
  for (const [i, bytes] of small.entries()) await a.commit({ [`f${i}`]: bytes })
  const large = randomFile(9_000_000)
  const c = await a.commit({ large })
  for (const bytes of [...small, large]) await rotAndHeal(a, bytes)
  await push(ctx, a, origin(backend))
  await fetchRemote(ctx, b, origin(backend), { data: true })
  await sameFiles(a, b, c)
})

scene('of two first pushes at once, the slower says what it lacks', async ({ a, b, backend }) => {
  const theirs = await b.commit({ y: randomFile(1000) })
  await a.commit({ x: randomFile(1000) })
  let faster: Promise<unknown> | undefined
  const late: Backend = {
    ...backend,
    async *list(prefix, options) {
      // The place is looked at whether it is empty; just before that, the other push goes through.
      await (faster ??= push(ctx, b, origin(backend)))
      yield* backend.list(prefix, options)
    },
  }
  await assert.rejects(push(ctx, a, origin(late)), (error) => {
    assert.ok(isCxvError(error, 'NOT_FAST_FORWARD'), String(error))
    return true
  })
  const fetched = await fetchRemote(ctx, a, origin(backend), { data: true })
  assert.deepEqual(
    fetched.refs.map(({ to }) => to),
    [theirs],
  )
})
