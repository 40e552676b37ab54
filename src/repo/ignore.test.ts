import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { testContext } from '../../test/helpers/context.ts'
import { scanWorkTree } from './scan.ts'

const FILES = [
  'a.png',
  'a.tmp',
  'A.TMP',
  'notes.txt',
  'keep.tmp',
  '#hash',
  '!bang',
  'images/a.png',
  'images/a.tmp',
  'images/raw/b.png',
  'images/raw/keep/c.png',
  'images/thumbs/x.png',
  'deep/images/raw/d.png',
  'deep/build/e.o',
  'build/f.o',
  'build/important/g.o',
  'with space/h.png',
  'umlaut ä/i.png',
  'cache',
  'sub/cache/j',
  'sub/.cxvignore-not',
  'x/y/z/w.log',
]

const CASES: readonly Readonly<Record<string, string>>[] = [
  { '': '*.tmp\n' },
  { '': '*.tmp\n!keep.tmp\n' },
  { '': '# a comment\n\\#hash\n\\!bang\n' },
  { '': '/build\n' },
  { '': 'build/\n' },
  { '': 'build/*\n!build/important\n' },
  { '': 'build\n!build/important/g.o\n' },
  { '': 'images/raw\n' },
  { '': '**/raw/\n' },
  { '': 'images/**/*.png\n' },
  { '': 'x/**/w.log\n' },
  { '': 'cache/\n' },
  { '': 'with space/\numlaut*\n' },
  { '': '[ab].png\n' },
  { '': 'images/*\n!images/raw\nimages/raw/*\n!images/raw/keep\n' },
  { '': '*.png\n', images: '!a.png\n' },
  { images: '*.png\n!/a.png\n', 'images/raw': '!b.png\n' },
  { '': 'trailing   \nnotes.txt\\ \n*.log\n' },
  { '': 'deep/images\n!deep/images/raw/d.png\n' },
  { '': '?.tmp\n' },
]

test('.cxvignore hides what the same .gitignore hides from git', async (t) => {
  if (spawnSync('git', ['--version']).status !== 0) return t.skip('git is absent')
  const root = mkdtempSync(join(tmpdir(), 'cxv-ignore-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  spawnSync('git', ['init', '-q', root])
  for (const path of FILES) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), 'x')
  }
  for (const rules of CASES) {
    for (const [folder, text] of Object.entries(rules)) {
      for (const name of ['.cxvignore', '.gitignore']) writeFileSync(join(root, folder, name), text)
    }
    const { files } = await scanWorkTree(testContext(), root, '', { tracked: new Set() })
    const git = spawnSync(
      'git',
      [
        '-C',
        root,
        '-c',
        'core.excludesFile=/dev/null',
        'ls-files',
        '-z',
        '-o',
        '--exclude-standard',
      ],
      { encoding: 'utf8' },
    )
    const isRule = (path: string): boolean => /(^|\/)\.(cxv|git)ignore$/.test(path)
    assert.deepEqual(
      files.map((f) => f.path).filter((path) => !isRule(path)),
      git.stdout
        .split('\0')
        .filter((path) => path !== '' && !isRule(path))
        .sort(byBytes),
      JSON.stringify(rules),
    )
    for (const folder of Object.keys(rules)) {
      for (const name of ['.cxvignore', '.gitignore']) rmSync(join(root, folder, name))
    }
  }
  assert.equal(readFileSync(join(root, 'a.png'), 'utf8'), 'x')
})

test('what is tracked stays so, whatever the rules say', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'cxv-ignore-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  mkdirSync(join(root, 'build/deep'), { recursive: true })
  for (const name of ['deep/in.o', 'out.o']) writeFileSync(join(root, 'build', name), 'x')
  writeFileSync(join(root, '.cxvignore'), 'build\n')
  const tracked = new Set(['build/deep/in.o'])
  const { files } = await scanWorkTree(testContext(), root, '', { tracked })
  assert.deepEqual(
    files.map((f) => f.path),
    ['.cxvignore', 'build/deep/in.o'],
  )
})

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))
