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
