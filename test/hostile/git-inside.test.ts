import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { codeFacts } from '../../src/commands/run-facts.ts'
import { machine, program, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'

/** A work tree whose own files make it a git repository in git's eyes, with a configuration that runs programs. */
function hostileTree(work: string, ran: string): void {
  mkdirSync(work)
  const git = (...args: string[]): void => {
    assert.equal(spawnSync('git', ['-C', work, ...args]).status, 0, args.join(' '))
  }
  git('init', '-q', '--bare')
  mkdirSync(join(work, 'wt'))
  writeFileSync(join(work, 'wt', '.gitattributes'), '* filter=x\n')
  writeFileSync(join(work, 'wt', 'a.png'), 'first')
  git('config', 'core.bare', 'false')
  git('config', 'core.worktree', join(work, 'wt'))
  git('config', 'user.name', 'Evil')
  git('config', 'user.email', 'evil@example.org')
  git('add', '--all')
  git('commit', '-qm', 'x')
  git('config', 'filter.x.clean', `sh -c 'touch ${ran}; cat'`)
  writeFileSync(join(work, 'wt', 'a.png'), 'second, and longer')
}

test('a dataset that git takes for a repository runs nothing and names nobody', async (t) => {
  const top = tempFolder(t, 'git-inside')
  const work = join(top, 'work')
  const ran = join(top, 'ran')
  hostileTree(work, ran)
  // The trap works: git itself falls into it.
  spawnSync('git', ['-C', work, 'diff', 'HEAD'])
  if (!existsSync(ran)) return t.skip('this git looks into no such folder')
  spawnSync('rm', [ran])

  assert.equal(await codeFacts(work), null)
  const me = machine(join(top, 'home'))
  delete me.env['CXV_AUTHOR_NAME']
  delete me.env['CXV_AUTHOR_EMAIL']
  await me.ok(work, 'init')
  await me.ok(work, 'add', 'wt')
  const commit = text(await me.json(work, 'commit', '-m', 'x'), 'commit')
  const author = await program('git', [
    '--git-dir',
    join(work, '.cxv/git'),
    'log',
    '-1',
    '--format=%an %ae',
    commit,
  ])
  assert.doesNotMatch(author, /evil/i)
  assert.ok(!existsSync(ran))
})

test('a repository around the work tree is still found, and its name is taken', async (t) => {
  const top = tempFolder(t, 'git-around')
  const code = join(top, 'code')
  const work = join(code, 'data')
  mkdirSync(work, { recursive: true })
  const git = (...args: string[]): void => {
    assert.equal(spawnSync('git', ['-C', code, ...args]).status, 0, args.join(' '))
  }
  git('init', '-q')
  git('config', 'user.name', 'Code Writer')
  git('config', 'user.email', 'code@example.org')
  writeFileSync(join(code, 'train.py'), 'print(1)\n')
  git('add', 'train.py')
  git('commit', '-qm', 'code')
  writeFileSync(join(code, 'train.py'), 'print(2)\n')
  const facts = await codeFacts(work)
  assert.equal(facts?.dirty, true)
  assert.match(Buffer.from(facts?.patch ?? []).toString(), /\+print\(2\)/)
})
