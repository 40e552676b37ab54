import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type TestContext, testContext } from '../../test/helpers/context.ts'
import { workRepo, type WorkRepo } from '../../test/helpers/work-repo.ts'
import { counting, type Event } from '../base/index.ts'
import { traceImages } from '../lineage/index.ts'
import { checkRepository, commitStage, computeStatus } from '../repo/index.ts'
import { declareTable, diffTables, openTables } from '../table/index.ts'
import { command as log } from './log.ts'

/** Each look at its clock is a second later, so no step is held back. */
function slowContext(): TestContext {
  let now = Date.UTC(2026, 0, 2)
  return { ...testContext(), now: () => (now += 1000) }
}

/** What a person would see of it: the tasks with their last step. */
function told(events: readonly Event[]): Readonly<Record<string, string>> {
  const shown: Record<string, string> = {}
  const open = new Map<string, string>()
  for (const event of events) {
    if (event.type === 'task.start') open.set(event.task, event.title)
    if (event.type === 'task.step') {
      shown[open.get(event.task) ?? '?'] = `${event.done}/${event.total ?? '?'}`
    }
    if (event.type === 'task.end') assert.ok(open.delete(event.task), event.task)
  }
  assert.equal(open.size, 0, 'every task ends')
  return shown
}

async function labelled(t: Parameters<typeof workRepo>[0]): Promise<WorkRepo> {
  const work = await workRepo(t, 'progress')
  await work.add({ 'Labels.csv': 'id,label\na.png,Mass\n', 'a.png': 'a', 'b.png': 'b' })
  await declareTable(work.ctx, work.repo, { name: 'labels', path: 'Labels.csv', key: 'id' })
  return work
}

test('commit and status tell how many files they have been through', async (t) => {
  const { repo } = await labelled(t)
  const committing = slowContext()
  await commitStage(committing, repo, { message: 'data' })
  const { 'writing the commit': written, ...rest } = told(committing.events)
  assert.deepEqual(rest, { 'listing files': '3/3' })
  const [done, total] = (written ?? '').split('/')
  assert.ok(Number(done) > 0 && done === total, written)

  const looking = slowContext()
  await computeStatus(looking, repo)
  const { 'checking files': _hashed, ...walked } = told(looking.events)
  assert.deepEqual(walked, { 'reading the list of files': '3/3', 'looking at files': '3/3' })
})

test('fsck and log tell how many commits they have read', async (t) => {
  const { repo, commit } = await labelled(t)
  await commit('one')
  await commit('two')
  const checking = slowContext()
  await checkRepository(checking, repo, { deep: false, repair: false })
  const { 'checking history': history, 'files of all commits': files } = told(checking.events)
  assert.deepEqual([history, files], ['2/?', '2/?'])

  await repo.releaseStore()
  const reading = slowContext()
  const more = { cwd: repo.root, env: {} }
  await log.execute({ ...reading, ...more }, { _: {} })
  assert.deepEqual(told(reading.events), { 'reading history': '2/?' })
})

test('a statement that takes long is told of, one that is quick is not', async (t) => {
  const { repo, add, commit } = await labelled(t)
  const before = await commit()
  const ctx = slowContext()
  const session = await openTables(ctx, repo, 'stage')
  t.after(() => session.close())
  assert.deepEqual(told(ctx.events), { 'table of files': '3/3' })
  ctx.events.length = 0
  await session.query('select 1')
  assert.deepEqual(ctx.events, [])

  t.mock.timers.enable({ apis: ['setInterval'] })
  const asking = session.query('select count(*) from range(1000)')
  t.mock.timers.tick(3000)
  await asking
  t.mock.timers.reset()
  assert.match(told(ctx.events)['asking the tables'] ?? '', /^\d+\/(\d+|\?)$/)

  await add({ 'Labels.csv': 'id,label\na.png,Nodule\n' })
  const comparing = slowContext()
  t.mock.timers.enable({ apis: ['setInterval'] })
  const diff = diffTables(comparing, repo, before, 'stage')
  while (!comparing.events.some((event) => event.type === 'task.step')) {
    t.mock.timers.tick(1000)
    await new Promise((done) => setImmediate(done))
  }
  t.mock.timers.reset()
  assert.equal((await diff)[0]?.rowsChanged, 1)
  assert.ok('asking the tables' in told(comparing.events))
})

test('trace tells how many runs it has asked', async (t) => {
  const { repo } = await workRepo(t, 'trace')
  const ctx = slowContext()
  await traceImages(ctx, repo, () => Promise.resolve([]))
  const titles = ctx.events.flatMap((e) => (e.type === 'task.start' ? [[e.title, e.total]] : []))
  assert.deepEqual(titles, [
    ['reading runs', 0],
    ['sample lists of runs', 0],
  ])
  told(ctx.events)
})

test('a task ends with the loop that counts it, also when that breaks off', async () => {
  const ctx = slowContext()
  for await (const n of counting(ctx, 'counting', 'runs', [1, 2, 3], 3)) if (n === 2) break
  assert.deepEqual(told(ctx.events), { counting: '1/3' })
})
