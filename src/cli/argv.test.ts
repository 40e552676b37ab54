import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isCxvError } from '../base/index.ts'
import { VERBS } from '../commands/index.ts'
import { type AnyCommand, defineCommand, erase } from '../commands/types.ts'
import { GLOBAL_OPTIONS, parseArgs, parseSound, parseWithHelp } from './argv.ts'

const sample = erase(
  defineCommand({
    name: 'sample',
    summary: 'A verb for tests',
    positionals: [
      { name: 'first', describe: 'one', required: true },
      { name: 'rest', describe: 'more', many: true },
    ],
    options: {
      message: { type: 'string', alias: 'm', describe: 'text' },
      force: { type: 'boolean', describe: 'yes' },
      limit: { type: 'number', alias: 'n', describe: 'how many' },
      set: { type: 'strings', describe: 'a=b' },
    },
    run: () => Promise.resolve(null),
    text: () => [],
  }),
)

const parsed = async (...argv: string[]) => {
  const result = await parseArgs(sample, argv)
  assert.ok('args' in result)
  return result.args
}

test('options get their types, positionals their names', async () => {
  const args = await parsed(
    'a',
    '-m',
    'hello',
    '--force',
    '-n',
    '3',
    '--set',
    'x=1',
    '--set',
    'y=2',
    'b',
    'c',
  )
  assert.equal(args['message'], 'hello')
  assert.equal(args['force'], true)
  assert.equal(args['limit'], 3)
  assert.deepEqual(args['set'], ['x=1', 'y=2'])
  assert.deepEqual(args._, { first: ['a'], rest: ['b', 'c'] })
})

test('a path that looks like a number stays text, and -- ends the options', async () => {
  const args = await parsed('007', '--', '--force', '-x')
  assert.deepEqual(args._['first'], ['007'])
  assert.deepEqual(args._['rest'], ['--force', '-x'])
  assert.equal(args['force'], undefined)
})

test('all operands may stand after --, the required one as well', async () => {
  const args = await parsed('--force', '--', '-x.png', '--help', '--', '007')
  assert.deepEqual(args._, { first: ['-x.png'], rest: ['--help', '--', '007'] })
  assert.equal(args['force'], true)
  assert.equal(args['help'], undefined)
})

test('of a verb that takes one operand a second one after -- is refused by its own name', async () => {
  const one = { ...sample, positionals: [{ name: 'only', describe: 'one' }] }
  const result = await parseArgs(one, ['--', '-x'])
  assert.ok('args' in result)
  assert.deepEqual(result.args._, { only: ['-x'] })
  await assert.rejects(parseArgs(one, ['a', '--', '-x']), /does not take "-x"/)
})

test('a mistyped option is a usage error that names the nearest', async () => {
  await assert.rejects(parseArgs(sample, ['a', '--forse']), (error) => {
    assert.ok(isCxvError(error, 'USAGE'))
    assert.equal(error.hint, 'did you mean --force?')
    return true
  })
})

test('a missing positional, a number that is none and a doubled option are usage errors', async () => {
  await assert.rejects(parseArgs(sample, []), (error) => isCxvError(error, 'USAGE'))
  await assert.rejects(parseArgs(sample, ['a', '-n', 'many']), (error) =>
    isCxvError(error, 'USAGE'),
  )
  await assert.rejects(parseArgs(sample, ['a', '-m', 'x', '-m', 'y']), (error) =>
    isCxvError(error, 'USAGE'),
  )
})

test('a usage error names the argument and the verb, and shows the usage', async () => {
  const needy = erase(
    defineCommand({
      name: 'table sample',
      summary: 'A verb for tests',
      positionals: [
        { name: 'name', describe: 'one', required: true },
        { name: 'path', describe: 'two', required: true },
      ],
      options: {
        key: { type: 'string', alias: 'k', placeholder: 'COLUMN', describe: 'a', required: true },
        match: { type: 'string', choices: ['root', 'none'], describe: 'b' },
      },
      run: () => Promise.resolve(null),
      text: () => [],
    }),
  )
  const usage = 'usage: cxv table sample <name> <path> --key COLUMN [options]'
  const cases: readonly (readonly [argv: readonly string[], message: string])[] = [
    [['--key', 'x'], 'cxv table sample needs <name>'],
    [['a', '--key', 'x'], 'cxv table sample needs <path>'],
    [['a', 'b'], 'cxv table sample needs -k or --key'],
    [['a', 'b', '--key'], '--key of cxv table sample needs a value: --key COLUMN'],
    [['a', 'b', '-k'], '--key of cxv table sample needs a value: --key COLUMN'],
    [['a', 'b', '-k', 'x', '--match', 'y'], '--match takes "root", "none", not "y"'],
  ]
  for (const [argv, message] of cases) {
    await assert.rejects(parseArgs(needy, argv), (error) => {
      assert.ok(isCxvError(error, 'USAGE'), argv.join(' '))
      assert.deepEqual([error.message, error.hint], [message, usage])
      return true
    })
  }
})

test('--help gives text with every option and no run', async () => {
  const result = await parseArgs(sample, ['--help'])
  assert.ok('help' in result)
  for (const word of ['--message', '--force', '--limit', '--set', '--json', 'first', 'rest']) {
    assert.ok(result.help.includes(word), word)
  }
})

/** What a user of the verb might type, and much that none would. */
function wordsFor(command: AnyCommand): fc.Arbitrary<readonly string[]> {
  const value = fc.constantFrom(
    'a',
    'b/c.png',
    '007',
    '-7',
    '1e3',
    'Infinity',
    'x=1',
    '',
    ' ',
    '-',
    'true',
  )
  const options = { ...command.options, ...GLOBAL_OPTIONS }
  const option = fc.constantFrom(...Object.entries(options)).chain(([name, spec]) => {
    const words = [`--${name}`, ...(spec.alias === undefined ? [] : [`-${spec.alias}`])]
    const given =
      spec.choices === undefined ? value : fc.oneof(value, fc.constantFrom(...spec.choices))
    const text = fc.tuple(fc.constantFrom(...words), given)
    return fc.oneof(
      { weight: spec.type === 'boolean' ? 1 : 6, arbitrary: text.map(([word, v]) => [word, v]) },
      {
        weight: spec.type === 'boolean' ? 6 : 1,
        arbitrary: fc.constantFrom(...words).map((w) => [w]),
      },
      text.map(([word, v]) => [`${word}=${v}`]),
      text.map(([word, v]) => [`${word}${v}`]),
    )
  })
  const odd = fc.constantFrom(
    '--',
    '--help',
    '-h',
    '--no-force',
    '--forse',
    '-z',
    '--__proto__',
    '--_',
  )
  return fc
    .array(
      fc.oneof(
        { weight: 4, arbitrary: value.map((v) => [v]) },
        { weight: 5, arbitrary: option },
        { weight: 1, arbitrary: odd.map((v) => [v]) },
      ),
      { maxLength: 6 },
    )
    .map((words) => words.flat())
}

test('what is parsed without all of yargs is what yargs makes of it', async () => {
  const outcome = async (parsing: Promise<unknown>): Promise<unknown> => {
    try {
      return await parsing
    } catch (error) {
      assert.ok(isCxvError(error, 'USAGE'), String(error))
      return [error.message, error.hint]
    }
  }
  const verbs = await Promise.all(VERBS.map((verb) => verb.load()))
  let sound = 0
  let tried = 0
  for (const command of [sample, ...verbs]) {
    await fc.assert(
      fc.asyncProperty(wordsFor(command), async (words) => {
        tried++
        const fast = await outcome(parseSound(command, words))
        if (fast === undefined) return
        sound++
        assert.deepEqual(fast, await outcome(parseWithHelp(command, words)))
      }),
      { numRuns: command === sample ? 1_000 : 60 },
    )
  }
  assert.ok(sound > tried / 20, `${sound} of ${tried}`)
})
