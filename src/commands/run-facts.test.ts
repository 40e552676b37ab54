import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { runProgram } from '../io/index.ts'
import { codeFacts } from './run-facts.ts'

async function gitRepository(t: TestContext): Promise<string> {
  const root = mkdtempSync(join(tmpdir(), 'cxv-facts-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  writeFileSync(join(root, 'code.py'), 'before\n')
  const who = ['-c', 'user.name=Ada', '-c', 'user.email=ada@example.org']
  for (const args of [
    ['init', '-q'],
    ['add', '.'],
    [...who, 'commit', '-q', '-m', 'code'],
  ]) {
    assert.equal((await runProgram('git', ['-C', root, ...args])).status, 0)
  }
  return root
}

test('the patch is what git diff says, byte for byte', async (t) => {
  const root = await gitRepository(t)
  const clean = await codeFacts(root)
  assert.deepEqual([clean?.dirty, clean?.patch], [false, null])
  // Latin-1: no UTF-8.
  writeFileSync(join(root, 'code.py'), Buffer.from([0x63, 0xe9, 0x0a]))
  const { dirty, patch } = (await codeFacts(root)) ?? {}
  assert.equal(dirty, true)
  const lines = Buffer.from(patch ?? [])
  assert.ok(lines.includes(Buffer.from('diff --git a/code.py b/code.py')))
  assert.ok(lines.includes(Buffer.from([0x2b, 0x63, 0xe9, 0x0a])))
})

test('a patch that is too large is left out as a whole, and that is said', async (t) => {
  const root = await gitRepository(t)
  writeFileSync(join(root, 'code.py'), 'a line of some code\n'.repeat(250_000))
  const facts = await codeFacts(root)
  assert.deepEqual([facts?.dirty, facts?.patch], [true, null])
  assert.match(facts?.patchLost ?? '', /more than 4/)
})
