import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { test as nodeTest } from 'node:test'
import type { Backend, ObjectInfo } from '../../src/backend/types.ts'
import { isCxvError } from '../../src/base/index.ts'

export interface BackendSuite {
  readonly test: typeof nodeTest
  readonly name: string
  /** A new empty backend, and a second connection to the same bytes. */
  make(): Promise<{ backend: Backend; other: Backend; dispose(): Promise<void> }>
}

const bytesOf = (seed: number, length: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  let x = seed * 2 + 1
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0
    bytes[i] = x >>> 16
  }
  return bytes
}

async function keysOf(list: AsyncIterable<ObjectInfo>): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of list) keys.push(key)
  return keys.sort()
}

/** What every remote must do. docs/protocol.md rests on these promises and on nothing more. */
export function backendSuite({ test, name, make }: BackendSuite): void {
  const it = (what: string, fn: (b: Backend, other: Backend) => Promise<void>): void => {
    void test(`${name}: ${what}`, async () => {
      const { backend, other, dispose } = await make()
      try {
        await fn(backend, other)
      } finally {
        await dispose()
      }
    })
  }

  it('gives back what was put, at once and to others', async (b, other) => {
    const body = bytesOf(1, 100_000)
    const put = await b.put('packs/ab/one.pack', body)
    assert.equal(put.size, body.length)
    for (const reader of [b, other]) {
      const got = await reader.get('packs/ab/one.pack')
      assert.deepEqual(got?.bytes, body)
      assert.equal(got.etag, put.etag)
      assert.deepEqual(await reader.stat('packs/ab/one.pack'), put)
    }
  })

  it('what is a file of this machine is what get gives, and of an absent key there is none', async (b, other) => {
    const body = bytesOf(2, 100_000)
    await b.put('packs/ab/one.pack', body)
    for (const reader of [b, other]) {
      assert.equal(reader.file?.('packs/ab/two.pack'), undefined)
      const path = reader.file?.('packs/ab/one.pack')
      if (reader.file !== undefined)
        assert.deepEqual(new Uint8Array(readFileSync(path ?? '')), body)
      assert.throws(() => reader.file?.('../x') ?? assert.fail('no file'), Error)
    }
  })

  it('an absent key is undefined, and deleting it succeeds', async (b) => {
    assert.equal(await b.get('nothing/here'), undefined)
    assert.equal(await b.get('nothing/here', { offset: 0, length: 1 }), undefined)
    assert.equal(await b.stat('nothing'), undefined)
    assert.deepEqual(await keysOf(b.list('')), [])
    await b.delete('nothing/here')
  })

  it('tells of no byte that passes twice, and of all of them if of any', async (b) => {
    const body = bytesOf(6, 1_500_000)
    const watch = () => {
      let sum = 0
      const onBytes = (bytes: number): void => {
        assert.ok(bytes > 0)
        sum += bytes
      }
      return { onBytes, sum: () => sum }
    }
    const put = watch()
    await b.put('k', body, { onBytes: put.onBytes })
    assert.ok([0, body.length].includes(put.sum()), `${put.sum()}`)
    const whole = watch()
    assert.deepEqual((await b.get('k', undefined, { onBytes: whole.onBytes }))?.bytes, body)
    assert.ok([0, body.length].includes(whole.sum()), `${whole.sum()}`)
    const part = watch()
    await b.get('k', { offset: 5, length: 900_000 }, { onBytes: part.onBytes })
    assert.ok([0, 900_000].includes(part.sum()), `${part.sum()}`)
  })

  it('reads ranges exactly, and refuses those beyond the end', async (b) => {
    const body = bytesOf(2, 70_000)
    await b.put('k', body)
    const ranges = [
      [0, 1],
      [69_999, 1],
      [1000, 50_000],
      [0, 70_000],
      [70_000, 0],
    ] as const
    for (const [offset, length] of ranges) {
      const got = await b.get('k', { offset, length })
      assert.deepEqual(got?.bytes, body.slice(offset, offset + length))
    }
    await assert.rejects(b.get('k', { offset: 69_999, length: 2 }), (e) =>
      isCxvError(e, 'REMOTE_CORRUPT'),
    )
    await assert.rejects(b.get('k', { offset: 80_000, length: 1 }), (e) =>
      isCxvError(e, 'REMOTE_CORRUPT'),
    )
  })

  it('may read into memory that is given, and reads right whatever it does with it', async (b) => {
    const body = bytesOf(5, 70_000)
    await b.put('k', body)
    for (const length of [10, 70_000, 100_000]) {
      const into = new Uint8Array(length).fill(255)
      const got = await b.get('k', undefined, { into })
      assert.deepEqual(Uint8Array.from(got?.bytes ?? []), body)
      const part = await b.get('k', { offset: 5, length: 9 }, { into })
      assert.deepEqual(Uint8Array.from(part?.bytes ?? []), body.slice(5, 14))
    }
  })

  it('keeps empty bodies and bodies of every awkward length', async (b) => {
    for (const length of [0, 1, 15, 16, 17, 65_535, 65_536, 65_537, 3_000_001]) {
      const body = bytesOf(length, length)
      await b.put(`lengths/${length}`, body)
      assert.deepEqual((await b.get(`lengths/${length}`))?.bytes, body)
    }
  })

  it('lists by any beginning of a key, every object once', async (b) => {
    const keys = ['packs/ab/1.pack', 'packs/ab/2.pack', 'packs/ac/1.pack', 'refs/heads/main', 'top']
    for (const key of keys) await b.put(key, bytesOf(3, 10))
    assert.deepEqual(await keysOf(b.list('')), [...keys].sort())
    assert.deepEqual(await keysOf(b.list('packs/')), keys.slice(0, 3))
    assert.deepEqual(await keysOf(b.list('packs/ab')), keys.slice(0, 2))
    assert.deepEqual(await keysOf(b.list('packs/ab/2')), keys.slice(1, 2))
    assert.deepEqual(await keysOf(b.list('to')), ['top'])
    assert.deepEqual(await keysOf(b.list('refs/heads/main/')), [])
    await b.delete('packs/ab/1.pack')
    assert.deepEqual(await keysOf(b.list('packs/ab')), ['packs/ab/2.pack'])
  })

  it('lists more than one page, with sizes and etags of stat', async (b) => {
    const n = 1_100
    for (let i = 0; i < n; i += 50) {
      await Promise.all(
        Array.from({ length: 50 }, (_, j) => b.put(`many/k${i + j}`, bytesOf(1, i % 7))),
      )
    }
    const infos: ObjectInfo[] = []
    for await (const info of b.list('many/')) infos.push(info)
    assert.equal(infos.length, n)
    for (const info of [infos[0], infos[n - 1]])
      assert.deepEqual(info, await b.stat(info?.key ?? ''))
  })

  it('a put replaces, and changes the etag of other bytes', async (b) => {
    const first = await b.put('refs/heads/main', bytesOf(4, 100))
    const second = await b.put('refs/heads/main', bytesOf(5, 100))
    assert.notEqual(first.etag, second.etag)
    assert.deepEqual((await b.get('refs/heads/main'))?.bytes, bytesOf(5, 100))
  })

  it('ifMatch: null creates only, an etag replaces only that version', async (b, other) => {
    const refused = (e: unknown): boolean => isCxvError(e, 'PRECONDITION_FAILED')
    const first = await b.put('ref', bytesOf(6, 50), { ifMatch: null })
    await assert.rejects(other.put('ref', bytesOf(7, 50), { ifMatch: null }), refused)
    const second = await other.put('ref', bytesOf(8, 50), { ifMatch: first.etag })
    await assert.rejects(b.put('ref', bytesOf(9, 50), { ifMatch: first.etag }), refused)
    assert.deepEqual((await b.get('ref'))?.bytes, bytesOf(8, 50))
    await b.delete('ref')
    await assert.rejects(b.put('ref', bytesOf(9, 50), { ifMatch: second.etag }), refused)
    await b.put('ref', bytesOf(9, 50), { ifMatch: null })
  })

  it('of many conditional puts at once exactly one wins', async (b, other) => {
    const last: { etag: string | null } = { etag: null }
    for (let round = 0; round < 4; round++) {
      const ifMatch = last.etag
      const bodies = Array.from({ length: 6 }, (_, i) => bytesOf(round * 100 + i, 64))
      const results = await Promise.allSettled(
        bodies.map((body, i) => (i % 2 === 0 ? b : other).put('race', body, { ifMatch })),
      )
      const won = results.flatMap((r, i) =>
        r.status === 'fulfilled' ? [{ i, info: r.value }] : [],
      )
      assert.equal(won.length, 1)
      for (const r of results) {
        if (r.status === 'rejected')
          assert.ok(isCxvError(r.reason, 'PRECONDITION_FAILED'), String(r.reason))
      }
      assert.deepEqual((await other.get('race'))?.bytes, bodies[won[0]?.i ?? -1])
      last.etag = won[0]?.info.etag ?? null
    }
  })

  it('a reader beside a writer sees one whole version', async (b, other) => {
    const versions = [bytesOf(10, 200_000), bytesOf(11, 180_000)]
    await b.put('v', versions[0] ?? bytesOf(0, 0))
    const writing = (async () => {
      for (let i = 0; i < 20; i++) await b.put('v', versions[i % 2] ?? bytesOf(0, 0))
    })()
    for (let i = 0; i < 20; i++) {
      const got = await other.get('v')
      assert.ok(versions.some((v) => got && Buffer.compare(v, got.bytes) === 0))
    }
    await writing
  })

  it('puts and deletes in one folder at once do not disturb each other', async (b, other) => {
    await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        await b.put(`d/e/f${i}`, bytesOf(i, 20))
        await other.delete(`d/e/f${i}`)
      }),
    )
    assert.deepEqual(await keysOf(b.list('d/')), [])
    await b.put('d/e/last', bytesOf(1, 1))
    assert.deepEqual(await keysOf(other.list('d/')), ['d/e/last'])
  })

  it('refuses keys that are none', async (b) => {
    const bad = [
      '',
      '/',
      'a//b',
      '../x',
      'a/../b',
      'a/.',
      '.tmp/x',
      'a b',
      'a\\b',
      '/etc/passwd',
      'é',
      'a\u0000',
      'x'.repeat(600),
    ]
    for (const key of bad) {
      const refused = (e: unknown): boolean => isCxvError(e, 'REMOTE_INVALID')
      await assert.rejects(async () => b.get(key), refused, key)
      await assert.rejects(async () => b.put(key, bytesOf(1, 1)), refused, key)
      await assert.rejects(async () => b.delete(key), refused, key)
      await assert.rejects(async () => b.stat(key), refused, key)
    }
    for (const prefix of ['../', '/etc', '.', 'a//']) {
      await assert.rejects(keysOf(b.list(prefix)), (e) => isCxvError(e, 'REMOTE_INVALID'), prefix)
    }
  })

  it('many requests at once each get their own answer', async (b) => {
    const bodies = Array.from({ length: 60 }, (_, i) => bytesOf(i + 20, 1000 + i * 997))
    await Promise.all(bodies.map((body, i) => b.put(`p/${i}`, body)))
    const got = await Promise.all(bodies.map((_, i) => b.get(`p/${i}`)))
    got.forEach((g, i) => assert.deepEqual(g?.bytes, bodies[i]))
  })
}
