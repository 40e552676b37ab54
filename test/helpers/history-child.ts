// A process of its own for tests of locks and kills: `node history-child.js <verb> <folder> <arg>`.
import { type CommitId, commitId, isCxvError } from '../../src/base/index.ts'
import { createHistory, openHistory } from '../../src/history/index.ts'
import { imageRows, rowOf } from './rows.ts'

const [verb = '', folder = '', arg = ''] = process.argv.slice(2)
const AUTHOR = { name: 'Ada', email: 'ada@example.org' }

/** Tries once to move main from the given commit to one of its own. */
async function move(from: CommitId, who: string): Promise<string> {
  const history = await openHistory(folder)
  const id = await history.writeRecordCommit({
    files: new Map([['who', Buffer.from(who)]]),
    parents: [from],
    message: who,
    author: AUTHOR,
    timeMs: 0,
    zoneMinutes: 0,
  })
  try {
    await history.casRef('refs/heads/main', from, id, `move ${who}`)
    return 'won'
  } catch (error) {
    if (isCxvError(error, 'REF_MOVED')) return 'lost'
    throw error
  }
}

async function race(): Promise<string> {
  const [from = '', who = ''] = arg.split(' ')
  return move(commitId(from), who)
}

/** Adds commits to main until it has succeeded as often as asked, as `cxv commit` in a loop would. */
async function append(): Promise<string> {
  const [count = '', who = ''] = arg.split(' ')
  for (let left = Number(count); left > 0;) {
    const { commit } = await (await openHistory(folder)).head()
    if (commit !== null && (await move(commit, `${who} ${left}`)) === 'won') left--
  }
  return 'done'
}

/** All that a first and a second commit, a branch, a tag and a deletion write. */
async function story(): Promise<string> {
  const history = await createHistory(folder, 'main')
  const rows = imageRows(600)
  const base = { tables: [], author: AUTHOR, timeMs: 0, zoneMinutes: 0 }
  const a = await history.writeCommit({ ...base, rows, parents: [], message: 'first' })
  const at = await history.ref('refs/heads/main')
  if (at === null) await history.casRef('refs/heads/main', null, a, 'commit: first')
  const more = [...rows, rowOf('z.png')]
  const b = await history.writeCommit({ ...base, rows: more, parents: [a], message: 'second' })
  if ((await history.ref('refs/heads/main')) === a) {
    await history.casRef('refs/heads/main', a, b, 'commit: second')
  }
  if ((await history.ref('refs/tags/v1')) === null) {
    const tag = { target: b, name: 'v1', message: 'v1', author: AUTHOR, timeMs: 0, zoneMinutes: 0 }
    await history.casRef('refs/tags/v1', null, await history.writeTag(tag), 'tag')
  }
  if ((await history.ref('refs/heads/topic')) === null) {
    await history.casRef('refs/heads/topic', null, a, 'branch')
  }
  await history.setHead('refs/heads/topic', 'switch')
  await history.setHead('refs/heads/main', 'switch')
  await history.casRef('refs/heads/topic', a, null, 'deleted')
  return b
}

const verbs: Readonly<Record<string, () => Promise<string>>> = { race, append, story }
const run = verbs[verb]
if (run === undefined) throw new Error(`no verb ${verb}`)
process.stdout.write(await run())
