import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openBackend } from '../../src/backend/index.ts'
import { type ErrorCode, isCxvError } from '../../src/base/index.ts'
import { testContext } from '../helpers/context.ts'
import { type Sshd, sshdSkipReason, startSshd } from '../helpers/sshd.ts'
import { backendSuite } from './backend.suite.ts'

const skip = sshdSkipReason()
let server: Promise<Sshd> | undefined
const sshd = (): Promise<Sshd> => (server ??= startSshd())
after(async () => (await server)?.stop())

const open = async (url: string, env: Readonly<Record<string, string>>) =>
  openBackend(testContext(), url, { cwd: '/', env })

if (skip !== undefined) void test('ssh backend', { skip }, () => undefined)
else {
  backendSuite({
    test,
    name: 'ssh',
    async make() {
      const { url, env } = await sshd()
      const folder = await mkdtemp(join(tmpdir(), "cxv ssh's $HOME-"))
      const root = `${folder}/remote; touch hacked`
      const backend = await open(url(root), env)
      const other = await open(url(root), env)
      return {
        backend,
        other,
        async dispose() {
          await backend.close()
          await other.close()
          assert.deepEqual(
            (await readdir(folder)).filter((name) => name !== 'remote; touch hacked'),
            [],
          )
          await rm(folder, { recursive: true })
        },
      }
    },
  })

  const fails = (
    what: string,
    env: (s: Sshd) => Record<string, string>,
    code: ErrorCode,
    hint: RegExp,
  ) =>
    void test(`ssh: ${what}`, async () => {
      const s = await sshd()
      await assert.rejects(open(s.url('/tmp/none'), env(s)), (error) => {
        assert.ok(isCxvError(error, code), String(error))
        assert.match(error.hint ?? '', hint)
        return true
      })
    })
  fails(
    'a key that is not authorised',
    (s) => s.envWith({ identity: 'stranger' }),
    'AUTH_FAILED',
    /ssh-copy-id/,
  )
  fails(
    'an unknown host key',
    (s) => s.envWith({ knownHosts: 'empty' }),
    'AUTH_FAILED',
    /fingerprint/,
  )
  fails(
    'cxv is not installed there',
    (s) => s.envWith({ remote: 'no-such-cxv' }),
    'REMOTE_FAILED',
    /CXV_REMOTE_COMMAND/,
  )
  fails(
    'a shell that greets',
    (s) => s.envWith({ remote: 'echo Welcome; cxv' }),
    'REMOTE_INVALID',
    /bashrc/,
  )
  fails('another program answers', (s) => s.envWith({ remote: 'false' }), 'REMOTE_FAILED', /cxv/)
  fails('no ssh here', () => ({ CXV_SSH_COMMAND: '/no/such/ssh' }), 'REMOTE_FAILED', /OpenSSH/)

  void test('ssh: a host that refuses', async () => {
    const { env } = await sshd()
    await assert.rejects(open('ssh://127.0.0.1:1/x', env), (error) => {
      assert.ok(isCxvError(error, 'REMOTE_FAILED'))
      assert.doesNotMatch(error.message, /\?/)
      assert.equal(error.hint, 'try `ssh -p 1 127.0.0.1`')
      return true
    })
  })

  void test('ssh: a connection that breaks is made again', async () => {
    const s = await sshd()
    const folder = await mkdtemp(join(tmpdir(), 'cxv-ssh-'))
    // The first server process ends in the middle of its first put; the next ones live on.
    const script = join(folder, 'short-lived')
    await writeFile(
      script,
      `#!/bin/sh\nif [ -e '${folder}/once' ]; then exec ${s.env['CXV_REMOTE_COMMAND']} "$@"; fi\ntouch '${folder}/once'\ndd bs=1 count=60 2>/dev/null | ${s.env['CXV_REMOTE_COMMAND']} "$@"\n`,
      { mode: 0o755 },
    )
    const ctx = testContext()
    const backend = await openBackend(ctx, s.url(`${folder}/r`), {
      cwd: '/',
      env: s.envWith({ remote: script }),
    })
    try {
      const body = new Uint8Array(5_000_000).fill(7)
      await backend.put('packs/big', body)
      assert.deepEqual((await backend.get('packs/big'))?.bytes, body)
      assert.ok(ctx.events.some((e) => e.type === 'retry'))
    } finally {
      await backend.close()
      await rm(folder, { recursive: true })
    }
  })
}
