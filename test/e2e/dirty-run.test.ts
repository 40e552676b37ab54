import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { at, list, machine, program, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'
import { makeTrainable } from '../helpers/tiny-run.ts'

test('a run on uncommitted changes is in the log, travels with its data and is traced elsewhere', async (t) => {
  const top = tempFolder(t, 'dirty-run')
  const ada = machine(join(top, 'ada'), 'Ada', { TZ: 'America/New_York' })
  const bob = machine(join(top, 'bob'), 'Bob')
  const work = join(top, 'work')
  const nas = join(top, 'nas')
  const base = await makeTrainable(ada, work)
  await ada.ok(work, 'remote', 'add', 'nas', nas)
  await ada.ok(work, 'push')
  await bob.ok(top, 'clone', nas, 'early')
  const early = join(top, 'early')

  // An image of other bytes and a text, neither committed.
  const [image = ''] = readdirSync(join(work, 'images')).sort()
  const changed = Buffer.concat([readFileSync(join(work, 'images', image)), Buffer.from('more')])
  writeFileSync(join(work, 'images', image), changed)
  writeFileSync(join(work, 'notes.txt'), 'changed\n')
  const refused = await ada.fails(work, 'run')
  assert.equal(refused.code, 'DIRTY_TREE')
  assert.match(refused.message, new RegExp(`2 files: images/${image}, notes.txt`))
  const run = await ada.json(work, 'run', '--allow-dirty')
  const id = text(run, 'run')
  const snapshot = text(run, 'commit')
  assert.notEqual(snapshot, base)

  const agree = async (who: typeof ada, where: string): Promise<void> => {
    const log = await who.json(where, 'log')
    const top = list(log, 'commits')[0]
    assert.equal(text(top, 'id'), base)
    assert.equal(text(top, 'runs', 0, 'run'), id)
    assert.equal(text(top, 'runs', 0, 'commit'), snapshot)
    assert.equal(text(top, 'runs', 0, 'takenFrom'), base)
    for (const verb of [['log'], ['log', '--all', '--oneline'], ['runs'], ['show', id]]) {
      const said = await who.ok(where, ...verb)
      assert.match(said, new RegExp(`${id} tiny`), verb.join(' '))
      assert.match(said, /with uncommitted changes/, verb.join(' '))
    }
    // Beginning at the snapshot, the run is shown there, and once.
    const behind = list(await who.json(where, 'log', '--model', id), 'commits')
    assert.deepEqual(
      behind.map((c) => [at(c, 'id'), list(c, 'runs').map((r) => at(r, 'run'))]),
      [
        [snapshot, [id]],
        [base, []],
      ],
    )
    for (const rev of [base, snapshot]) {
      const runs = list(await who.json(where, 'trace', '--commit', rev), 'runs')
      assert.deepEqual(
        runs.map((r) => at(r, 'run')),
        [id],
      )
    }
    const traced = await who.json(where, 'trace', '--path', `images/${image}`)
    assert.equal(text(traced, 'hits', 0, 'run'), id)
    const { stdout } = await who.cxv(where, 'cat', 'notes.txt', '--rev', snapshot)
    assert.equal(stdout, 'changed\n')
    await who.ok(where, 'fsck')
  }
  await agree(ada, work)
  for (const rev of [base, snapshot, `refs/runs/${id}`]) {
    const format = ['log', '-1', '--date=format:%z', '--format=%ad %cd', rev]
    const zones = await program('git', ['--git-dir', join(work, '.cxv/git'), ...format])
    assert.match(zones, /^(-0[45]00) \1\n$/, rev)
  }

  const pushed = list(await ada.json(work, 'push'), 'refs')
  const sent = pushed.find((r) => at(r, 'ref') === `refs/runs/${id}`)
  assert.equal(text(sent, 'status'), 'created')
  await bob.ok(top, 'clone', nas, 'late')
  await agree(bob, join(top, 'late'))
  await bob.ok(early, 'pull')
  await agree(bob, early)
})
