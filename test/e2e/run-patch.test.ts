import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { at, machine, program, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'
import { makeTrainable } from '../helpers/tiny-run.ts'

test('a run names the patch of its code, and the patch travels with it', async (t) => {
  const top = tempFolder(t, 'run-patch')
  const ada = machine(join(top, 'home'))
  const work = join(top, 'work')
  await makeTrainable(ada, work)
  const git = (...args: readonly string[]): Promise<string> =>
    program('git', args, { cwd: work, env: ada.env })
  writeFileSync(join(work, 'model.py'), 'print(1)\n')
  await git('init', '-q')
  await git('add', 'model.py')
  await git('-c', 'user.name=Ada', '-c', 'user.email=a@b.c', 'commit', '-q', '-m', 'code')
  writeFileSync(join(work, 'model.py'), 'print(2)\n')

  const run = await ada.json(work, 'run')
  const patch = readFileSync(join(text(run, 'folder'), 'code.patch'))
  assert.match(patch.toString(), /^\+print\(2\)$/m)
  const id = createHash('sha256').update(patch).digest('hex')
  const shown = await ada.json(work, 'show', text(run, 'run'))
  assert.equal(at(shown, 'record', 'code', 'patch'), id)
  assert.match(await ada.ok(work, 'show', text(run, 'run')), new RegExp(id.slice(0, 12)))
  const ref = `refs/runs/${text(run, 'run')}`
  const sealed = await git('--git-dir', '.cxv/git', 'show', `${ref}:contents.json`)
  assert.ok(sealed.includes(id))

  // Too large to keep: the run goes on, and says so.
  writeFileSync(join(work, 'model.py'), 'a line of some code\n'.repeat(250_000))
  const large = await ada.cxv(work, 'run', '--json')
  assert.equal(large.status, 0, large.stderr)
  assert.match(large.stderr, /uncommitted changes to the code are not kept/)
  const second: unknown = JSON.parse(large.stdout)
  const kept = await ada.json(work, 'show', text(second, 'run'))
  assert.deepEqual(
    [at(kept, 'record', 'code', 'dirty'), at(kept, 'record', 'code', 'patch')],
    [true, null],
  )
  assert.match(await ada.ok(work, 'show', text(second, 'run')), /changes \(not kept\)/)
})
