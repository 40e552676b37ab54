import assert from 'node:assert/strict'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import sharp from 'sharp'
import { parseJson } from '../../src/base/index.ts'
import { at, CXV, list, type Machine, machine, number, startProgram, text } from '../helpers/cli.ts'
import { tempFolder } from '../helpers/temp.ts'

const top = tempFolder({ after }, 'wrong')
const repo = join(top, 'xrays')
const IMAGES = 1_000
/** Its first half is a PNG. */
const BROKEN = 'images/00000417.png'
let ada: Machine

const TRAIN = `version: 1
task: binary
data:
  table: labels
  label: { column: Finding Labels }
  group: Patient ID
label_policy: { positive: [Effusion] }
image: { size: 16 }
train: { epochs: 1, batch: 64 }
`

before(async () => {
  ada = machine(join(top, 'home'))
  const images = join(repo, 'images')
  mkdirSync(images, { recursive: true })
  // Four pictures are enough: what matters is that there are a thousand files.
  const pictures = await Promise.all(
    [0, 1, 2, 3].map((n) =>
      sharp(
        Uint8Array.from({ length: 256 }, (_, i) => (i * (n + 3) * 7) % 256),
        {
          raw: { width: 16, height: 16, channels: 1 },
        },
      )
        .png()
        .toBuffer(),
    ),
  )
  const rows = ['Image Index,Finding Labels,Patient ID']
  for (let i = 0; i < IMAGES; i++) {
    const name = `${String(i).padStart(8, '0')}.png`
    const picture = pictures[i % 4] as Buffer
    const whole = `images/${name}` !== BROKEN
    writeFileSync(join(images, name), whole ? picture : picture.subarray(0, picture.length / 2))
    rows.push(`${name},${i % 2 === 0 ? 'Effusion' : 'No Finding'},${i}`)
  }
  writeFileSync(join(repo, 'labels.csv'), `${rows.join('\n')}\n`)
  writeFileSync(join(repo, 'train.yaml'), TRAIN)
  await ada.ok(repo, 'init')
  await ada.ok(repo, 'add', '.')
  await ada.ok(repo, 'table', 'add', 'labels', 'labels.csv', '--key', 'Image Index')
  await ada.ok(repo, 'commit', '-m', 'a thousand')
})

/** The same call without --json: a line with the code, a line with the hint, on stderr alone. */
async function assertText(
  args: readonly string[],
  expected: { status: number; code: string; message: RegExp; hint: RegExp },
): Promise<void> {
  const { status, stdout, stderr } = await ada.cxv(repo, ...args)
  assert.equal(status, expected.status, stderr)
  assert.equal(stdout, '')
  const told = stderr.slice(stderr.lastIndexOf('cxv: '))
  const [message = '', hint = ''] = told.split('\nhint: ')
  assert.match(message, expected.message)
  assert.ok(message.endsWith(`[${expected.code}]`), message)
  assert.match(hint, expected.hint)
  assert.doesNotMatch(stderr, /\bat .*\.js:\d/)
}

async function assertWrong(
  args: readonly string[],
  expected: { status: number; code: string; message: RegExp; hint: RegExp },
): Promise<unknown> {
  await assertText(args, expected)
  const failure = await ada.fails(repo, ...args)
  assert.equal(failure.status, expected.status)
  assert.equal(failure.code, expected.code)
  assert.match(failure.message, expected.message)
  assert.match(failure.hint, expected.hint)
  return failure.data
}

test('a typo in a verb', async () => {
  await assertWrong(['comit', '-m', 'x'], {
    status: 2,
    code: 'USAGE',
    message: /no verb "comit"/,
    hint: /cxv commit/,
  })
})

test('an option that does not exist', async () => {
  await assertWrong(['status', '--jsn'], {
    status: 2,
    code: 'USAGE',
    message: /--jsn/,
    hint: /--json|--help/,
  })
})

test('what stands before the verb, or in its place', async () => {
  const usage = { status: 2, code: 'USAGE' }
  await assertText(['--jsn', 'status'], { ...usage, message: /no option --jsn/, hint: /--json/ })
  await assertText(['-v'], { ...usage, message: /no option -v/, hint: /usage: cxv/ })
  await assertText(['-C'], { ...usage, message: /-C needs a folder/, hint: /-C DIR/ })
  for (const words of [[], ['remote'], ['table'], ['engine']]) {
    const failure = await ada.fails(repo, ...words)
    assert.deepEqual([failure.status, failure.code], [2, 'USAGE'])
    assert.match(failure.hint, words.length === 0 ? /--help/ : /`cxv (remote|table|engine) add`/)
  }
  const { status, code, message } = await ada.fails(repo, '-C', 'nosuchdir', 'status')
  assert.deepEqual([status, code], [16, 'PATH_NOT_FOUND'])
  assert.match(message, /no folder nosuchdir/)
  await ada.ok(top, '-C=xrays', 'ls', 'labels.csv')
  await ada.ok(top, '-Cxrays', 'ls', 'labels.csv')
})

test('a verb without what it needs', async () => {
  await assertText(['add'], {
    status: 2,
    code: 'USAGE',
    message: /cxv add needs <paths>/,
    hint: /usage: cxv add <paths/,
  })
  await assertText(['commit'], {
    status: 2,
    code: 'USAGE',
    message: /cxv commit needs -m or --message/,
    hint: /usage: cxv commit --message TEXT/,
  })
})

test('with --quiet and --json no task is told of', async () => {
  const { status, stderr } = await ada.cxv(repo, 'add', '.', '-q', '--json')
  assert.deepEqual([status, stderr], [0, ''])
})

test('a folder where a file must be named, and two questions at once', async () => {
  const folder = { status: 2, code: 'USAGE', message: /not a file/, hint: /cxv ls/ }
  await assertWrong(['cat', '.'], folder)
  await assertWrong(['table', 'add', 'd', '.', '--key', 'id'], folder)
  await assertWrong(['query', 'select 1; select 2'], {
    status: 2,
    code: 'SQL_FAILED',
    message: /one statement/,
    hint: /UNION/,
  })
})

test('what a git user takes for a remote: the work tree, a folder in it, a host without a path', async () => {
  const invalid = { status: 2, code: 'REMOTE_INVALID' }
  await assertWrong(['clone', repo, join(top, 'copy')], {
    ...invalid,
    message: /a repository to work in, not a remote/,
    hint: /cxv remote add/,
  })
  await assertWrong(['remote', 'add', 'in', 'store'], {
    ...invalid,
    message: /lies in this work tree/,
    hint: /outside/,
  })
  await assertWrong(['remote', 'add', 'bad', 'host:'], {
    ...invalid,
    message: /"host:" is not the URL/,
    hint: /ssh:\/\/host\/path/,
  })
  await assertWrong(['remote', 'add', 'bad', 'ssh://'], {
    ...invalid,
    message: /ssh:\/\/\[user@\]host/,
    hint: /./,
  })
})

test('a missing column: as a key, in a question and in train.yaml', async () => {
  const columns = { status: 2, code: 'COLUMN_UNKNOWN' }
  await assertWrong(['table', 'add', 'more', 'labels.csv', '--key', 'Image Indx'], {
    ...columns,
    message: /no column "Image Indx"/,
    hint: /"Image Index"/,
  })
  await assertWrong(['query', 'select "Patient" from labels'], {
    ...columns,
    message: /no column "Patient"/,
    hint: /"Patient ID"/,
  })
  await assertWrong(['trace', '--where', '"Patient IDD" = 4'], {
    ...columns,
    message: /no column "Patient IDD"/,
    hint: /"Patient ID"/,
  })
  await assertWrong(['run', '--set', 'data.where="Patient IDD" = 4', '--dry-run'], {
    ...columns,
    message: /no column "Patient IDD"/,
    hint: /"Patient ID"/,
  })
  await assertWrong(['run', '--set', 'data.group=Patient', '--dry-run'], {
    ...columns,
    message: /"Patient"/,
    hint: /"Patient ID"/,
  })
})

test('a path outside the repository', async () => {
  writeFileSync(join(top, 'outside.png'), 'x')
  await assertWrong(['add', '../outside.png'], {
    status: 2,
    code: 'PATH_OUTSIDE',
    message: /outside/,
    hint: /below .*xrays/,
  })
  const { stdout } = await ada.cxv(repo, 'status', '--json')
  assert.doesNotMatch(stdout, /outside\.png/)
})

test('a table with two equal keys', async () => {
  const rows = ['Image Index,Label', 'a.png,1', 'b.png,1', 'c.png,0', 'b.png,0', '']
  writeFileSync(join(repo, 'twice.csv'), rows.join('\n'))
  await ada.ok(repo, 'add', 'twice.csv')
  const data = await assertWrong(['table', 'add', 'twice', 'twice.csv', '--key', 'Image Index'], {
    status: 2,
    code: 'TABLE_KEY',
    message: /"b\.png" 2 times \(lines 3, 5\)/,
    hint: /correct the rows/,
  })
  assert.deepEqual(list(data, 'duplicates'), [{ key: 'b.png', times: 2 }])
  await ada.ok(repo, 'restore', '--staged', 'twice.csv')
})

test('a broken PNG among a thousand: it alone is named, before anything is trained', async () => {
  const data = await assertWrong(['run', 'train.yaml', '--engine', 'wasm'], {
    status: 14,
    code: 'IMAGE_UNREADABLE',
    message: /00000417\.png/,
    hint: /--set "data\.where=name not in \('00000417\.png'\)"$/m,
  })
  assert.match(JSON.stringify(data), /00000417/)
  assert.doesNotMatch(JSON.stringify(data), /00000418/)
  const runs = await ada.json(repo, 'runs')
  for (const run of list(runs, 'runs')) assert.notEqual(at(run, 'status'), 'finished')
})

test('the hint leaves the broken image out when it is pasted, beside what the file asks for', async () => {
  const file = join(top, 'cohort.yaml')
  // Both kinds of quotes, a dollar and a hash: each means something to a shell or to YAML.
  const where = `"Patient ID" < 500 and name <> '$HOME #1 it''s.png'`
  writeFileSync(file, TRAIN.replace('  group', `  where: ${JSON.stringify(where)}\n  group`))
  for (const [yaml, images] of [
    ['train.yaml', IMAGES - 1],
    [file, 499],
  ] as const) {
    const { hint } = await ada.fails(repo, 'run', yaml, '--engine', 'wasm')
    const [set] = /--set [^]*$/.exec(hint) ?? []
    assert.ok(set !== undefined, hint)
    const pasted = `"$0" "$1" run "$2" --engine wasm --json ${set}`
    const args = ['-c', pasted, process.execPath, CXV, yaml]
    const ended = await startProgram('sh', args, { cwd: repo, env: ada.env }).ended
    assert.equal(ended.status, 0, `${ended.stdout}\n${ended.stderr}`)
    const run = await ada.json(repo, 'show', text(parseJson(ended.stdout), 'run'))
    const splits = ['train', 'val', 'test'].map((split) =>
      number(run, 'record', 'pin', 'splits', split, 'images'),
    )
    assert.equal(
      splits.reduce((a, b) => a + b),
      images,
    )
  }
})

test('an unknown key of train.yaml, with its line and the nearest', async () => {
  cpSync(join(repo, 'train.yaml'), join(top, 'train.yaml'))
  writeFileSync(join(top, 'train.yaml'), TRAIN.replace('epochs:', 'epoch:'))
  const data = await assertWrong(['run', join(top, 'train.yaml')], {
    status: 2,
    code: 'TRAIN_CONFIG_INVALID',
    message: /line 9: train\.epoch is unknown; did you mean train\.epochs\?/,
    hint: /train-yaml/,
  })
  assert.equal(list(data, 'problems').length, 1)
})
