import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VERBS } from '../../src/commands/index.ts'
import { parseArgs } from '../../src/cli/argv.ts'

/** Splits an example as a shell would: single and double quotes, no expansion. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map((m) => m[1] ?? m[2] ?? m[3] ?? '')
}

const startsWith = (argv: readonly string[], verb: readonly string[]): boolean =>
  verb.every((word, i) => argv[i] === word)

test('every verb says in the registry what its own file says, and describes all it takes', async () => {
  for (const entry of VERBS) {
    const command = await entry.load()
    assert.equal(command.name, entry.name)
    assert.equal(command.summary, entry.summary, entry.name)
    assert.ok(entry.summary.length <= 80, `${entry.name}: a summary fits one line`)
    for (const [name, option] of Object.entries(command.options)) {
      assert.ok(option.describe.length > 2, `${entry.name} --${name}`)
    }
  }
})

test('every example of every verb is accepted by the parser of the verb it names', async () => {
  for (const entry of VERBS) {
    const { examples = [] } = await entry.load()
    let own = 0
    for (const [line] of examples) {
      const last = line.split('&&').at(-1)?.trim() ?? ''
      const argv = words(last.replace(/\s[|>].*$/, ''))
      assert.equal(argv[0], 'cxv', line)
      const named = VERBS.find(({ name }) => startsWith(argv.slice(1), name.split(' ')))
      assert.ok(named !== undefined, line)
      if (named === entry) own++
      const rest = argv.slice(1 + named.name.split(' ').length)
      assert.ok('args' in (await parseArgs(await named.load(), rest)), line)
    }
    assert.ok(own > 0 || examples.length === 0, `${entry.name}: no example of its own`)
  }
})

test('every verb has a help text', async () => {
  for (const entry of VERBS) {
    const parsed = await parseArgs(await entry.load(), ['--help'])
    assert.ok('help' in parsed && parsed.help.includes(entry.name), entry.name)
  }
})

test('help shows what every option takes, and its examples as they are typed', async () => {
  for (const entry of VERBS) {
    const { options, examples = [], ...command } = await entry.load()
    const parsed = await parseArgs({ ...command, options, examples }, ['--help'])
    assert.ok('help' in parsed)
    const lines = parsed.help.split('\n')
    for (const [name, { type, placeholder }] of Object.entries(options)) {
      if (type === 'boolean') continue
      assert.ok(
        lines.some(
          (line) => line.includes(`--${name} ${placeholder ?? ''}`) && /--[\w-]+ [A-Z]/.test(line),
        ),
        `${entry.name} --${name}\n${parsed.help}`,
      )
    }
    for (const [line] of examples) assert.ok(lines.includes(`  ${line}`), `${entry.name}: ${line}`)
    assert.ok(!parsed.help.includes('[array]'), entry.name)
    for (const line of lines.slice(0, lines.indexOf('Examples:')))
      assert.ok(line.length <= 100, `${entry.name}: ${line}`)
  }
})
