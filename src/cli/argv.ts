import { CxvError, isRecord, nearest } from '../base/index.ts'
import type { AnyCommand, OptionSpec, PositionalSpec } from '../commands/types.ts'

/** Options every verb has. They may stand before or after the verb. */
export const GLOBAL_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  json: {
    type: 'boolean',
    describe: 'Result as one JSON value on stdout, events as JSON lines on stderr',
  },
  quiet: {
    type: 'boolean',
    alias: 'q',
    describe: 'No progress and no notes; results, warnings and errors stay',
  },
  directory: {
    type: 'string',
    alias: 'C',
    placeholder: 'DIR',
    describe: 'Work as if started in DIR',
  },
}

export type ParsedArgs =
  | { readonly help: string }
  | {
      readonly args: Readonly<Record<string, unknown>> & {
        readonly _: Readonly<Record<string, readonly string[]>>
      }
    }

/** Parses a verb's arguments by its specification. @throws CxvError USAGE */
export async function parseArgs(command: AnyCommand, argv: readonly string[]): Promise<ParsedArgs> {
  return (await parseSound(command, argv)) ?? (await parseWithHelp(command, argv))
}

/**
 * What yargs makes of arguments that it has nothing to say of, by its parser alone: loading all of yargs takes
 * 80 ms, of 200 that a verb takes to start.
 * @returns undefined where something is asked or wrong, for `parseWithHelp` to tell
 */
export async function parseSound(
  command: AnyCommand,
  argv: readonly string[],
): Promise<ParsedArgs | undefined> {
  const { default: parse } = await import('yargs-parser')
  const options = { ...command.options, ...GLOBAL_OPTIONS }
  const positionals = command.positionals ?? []
  const specs = Object.entries(options)
  const named = (is: (spec: OptionSpec) => boolean): string[] =>
    specs.filter(([, spec]) => is(spec)).map(([name]) => name)
  const { argv: found, error } = parse.detailed(operandsMarked(argv), {
    string: named(({ type }) => type === 'string' || type === 'strings'),
    number: named(({ type }) => type === 'number'),
    boolean: named(({ type }) => type === 'boolean'),
    array: named(({ type }) => type === 'strings'),
    alias: Object.fromEntries(specs.flatMap(([name, { alias }]) => (alias ? [[name, alias]] : []))),
    narg: Object.fromEntries(named(({ type }) => type !== 'boolean').map((name) => [name, 1])),
    configuration: PARSER,
  })
  if (error !== null) return undefined
  const words = found._
  const given = new Map(Object.entries<unknown>(found).filter(([name]) => name !== '_'))
  if ([...given].some(([name, value]) => !isSound(value, options[name]))) return undefined
  if (specs.some(([name, { required }]) => required && !given.has(name))) return undefined
  const fixed = positionals.filter(({ many }) => !many).length
  if (words.length < positionals.filter(({ required }) => required).length) return undefined
  if (words.length > fixed && fixed === positionals.length) return undefined
  positionals.forEach(({ name, many }, i) => given.set(name, many ? words.slice(i) : words[i]))
  return { args: collect(command, options, positionals, Object.fromEntries(given)) }
}

/** Whether a value is beyond doubt what its option takes; an empty one may stand for none. */
function isSound(value: unknown, spec: OptionSpec | undefined): boolean {
  if (spec === undefined) return false
  const isText = (text: unknown): boolean =>
    typeof text === 'string' && text !== '' && (spec.choices?.includes(text) ?? true)
  switch (spec.type) {
    case 'boolean':
      return typeof value === 'boolean'
    case 'number':
      return Number.isFinite(value) && spec.choices === undefined
    case 'string':
      return isText(value)
    case 'strings':
      return Array.isArray(value) && value.length > 0 && value.every(isText)
  }
}

/** Of yargs and of its parser. */
const PARSER = {
  'camel-case-expansion': false,
  'dot-notation': false,
  'parse-positional-numbers': false,
  'duplicate-arguments-array': true,
  'greedy-arrays': false,
  'boolean-negation': false,
  'populate--': false,
  'strip-aliased': true,
} as const

/** By all of yargs. @throws CxvError USAGE */
export async function parseWithHelp(
  command: AnyCommand,
  argv: readonly string[],
): Promise<ParsedArgs> {
  const { default: yargs } = await import('yargs')
  const options = { ...command.options, ...GLOBAL_OPTIONS }
  const positionals = command.positionals ?? []
  const words = operandsMarked(argv)
  const width = Math.min(100, Math.max(60, process.stdout.columns || 100))
  let problem: string | undefined
  const parser = yargs(words, '/')
    .scriptName(`cxv ${command.name}`)
    .parserConfiguration(PARSER)
    .command(['$0', positionalUsage(positionals)].join(' ').trim(), describe(command), (y) => {
      for (const p of positionals) {
        y.positional(p.name, {
          type: 'string',
          describe: p.describe,
          ...(p.many ? { array: true } : {}),
        })
      }
      return y
    })
    .options(
      Object.fromEntries(Object.entries(options).map(([name, spec]) => [name, yargsOption(spec)])),
    )
    .help('help')
    .alias('help', 'h')
    .version(false)
    // Its words are read by usageError, whatever language the user has.
    .locale('en')
    .strictOptions()
    .exitProcess(false)
    .wrap(width - placeholderRoom(options))
    .fail((message, error) => {
      problem = message || (error instanceof Error ? error.message : String(error))
    })
  if (command.description !== undefined) parser.epilogue(command.description)
  let help = ''
  const parsed: unknown = await parser.parseAsync(
    words,
    {},
    (_error: unknown, _argv: unknown, output: string) => {
      help = output
    },
  )
  if (help !== '' && problem === undefined) {
    return { help: withExamples(withPlaceholders(help, options), command) }
  }
  if (problem !== undefined) throw usageError(command, problem, options)
  if (!isRecord(parsed)) throw new Error('yargs returned no object')
  return { args: collect(command, options, positionals, parsed) }
}

/** No argument of a process can hold it. */
const OPERAND = '\u0000'

/**
 * What stands after `--` is an operand whatever it looks like, and so is `-`. yargs does not count such words as
 * positionals, so the `--` is left out and each of them bears a mark that makes it none of its options.
 */
function operandsMarked(argv: readonly string[]): string[] {
  const at = argv.indexOf('--')
  const before = (at < 0 ? argv : argv.slice(0, at)).map((word) =>
    word === '-' ? OPERAND + word : word,
  )
  return at < 0 ? before : [...before, ...argv.slice(at + 1).map((word) => OPERAND + word)]
}

const unmarked = (word: unknown): string => {
  const text = String(word)
  return text.startsWith(OPERAND) ? text.slice(OPERAND.length) : text
}

const unmarkedText = (value: unknown): unknown =>
  typeof value === 'string' ? unmarked(value) : value

const placeholderOf = ({ type, placeholder, choices }: OptionSpec): string | undefined => {
  if (type === 'boolean' || placeholder !== undefined) return placeholder
  return choices === undefined ? (type === 'number' ? 'N' : 'TEXT') : 'NAME'
}

const placeholderRoom = (options: Readonly<Record<string, OptionSpec>>): number =>
  Math.max(0, ...Object.values(options).map((spec) => (placeholderOf(spec)?.length ?? -1) + 1))

/** Writes `--rev REV`: yargs has no word for what an option takes, so a column is made for it. */
function withPlaceholders(help: string, options: Readonly<Record<string, OptionSpec>>): string {
  const room = placeholderRoom(options)
  const lines = help.split('\n')
  const start = lines.indexOf('Options:') + 1
  const end = lines.indexOf('', start)
  const column = Math.max(
    ...lines
      .slice(start, end)
      .map((line) => /^ +(?:-\w, +)?--[\w-]+ {2,}/.exec(line)?.[0].length ?? 0),
  )
  const widened = lines.slice(start, end).map((line) => {
    const head = line.slice(0, column).trimEnd()
    const spec = options[/--([\w-]+)$/.exec(head)?.[1] ?? '']
    const placeholder = spec && placeholderOf(spec)
    const filled = placeholder === undefined ? head : `${head} ${placeholder}`
    const rest = line.slice(column).replace('[array]', ' [many]')
    return `${filled.padEnd(column + room)}${rest}`
  })
  return [...lines.slice(0, start), ...widened, ...lines.slice(end)].join('\n')
}

/** An example stays on its line, however long, so that it can be copied. */
function withExamples(help: string, { examples = [] }: AnyCommand): string {
  if (examples.length === 0) return help
  const lines = examples.flatMap(([line, what]) =>
    what === '' ? [`  ${line}`] : [`  ${line}`, `      ${what}`],
  )
  return [help.trimEnd(), '', 'Examples:', ...lines].join('\n')
}

const describe = (command: AnyCommand): string => command.summary

function positionalUsage(positionals: readonly PositionalSpec[]): string {
  return positionals
    .map((p) => {
      const name = p.many ? `${p.name}..` : p.name
      return p.required ? `<${name}>` : `[${name}]`
    })
    .join(' ')
}

function yargsOption(spec: OptionSpec) {
  return {
    describe: spec.describe,
    type: spec.type === 'strings' ? ('string' as const) : spec.type,
    ...(spec.type === 'strings' ? { array: true } : {}),
    ...(spec.alias === undefined ? {} : { alias: spec.alias }),
    ...(spec.choices === undefined ? {} : { choices: spec.choices }),
    ...(spec.required ? { demandOption: true } : {}),
    requiresArg: spec.type !== 'boolean',
  }
}

/** `usage: cxv table add <name> <path> --key COLUMN [options]` */
function usageLine(command: AnyCommand): string {
  const required = Object.entries(command.options)
    .filter(([, spec]) => spec.required)
    .map(([name, spec]) => `--${name} ${valueWord(spec)}`)
  const words = [positionalUsage(command.positionals ?? []), ...required].filter((w) => w !== '')
  return ['usage: cxv', command.name, ...words, '[options]'].join(' ')
}

const valueWord = (spec: OptionSpec): string =>
  spec.choices?.join('|') ?? placeholderOf(spec) ?? 'TEXT'

/** What yargs says of a mistake, in words that name the argument and the verb. */
function usageError(
  command: AnyCommand,
  problem: string,
  options: Readonly<Record<string, OptionSpec>>,
): CxvError {
  const verb = `cxv ${command.name}`
  const hint = usageLine(command)
  const listed = (pattern: RegExp): string | undefined =>
    pattern.exec(problem)?.[1]?.split(',')[0]?.trim()
  const unknown = listed(/^Unknown arguments?: (.*)$/s)
  if (unknown !== undefined) {
    const near = nearest(unknown.replace(/^-+/, ''), Object.keys(options))
    return new CxvError(
      'USAGE',
      `${verb} has no option ${unknown.length === 1 ? '-' : '--'}${unknown}`,
      { hint: near === undefined ? `${verb} --help` : `did you mean --${near}?` },
    )
  }
  const got = listed(/^Not enough non-option arguments: got (\d+)/)
  if (got !== undefined) {
    const missing = (command.positionals ?? []).filter((p) => p.required)[Number(got)]
    return new CxvError('USAGE', `${verb} needs <${missing?.name ?? 'more'}>`, { hint })
  }
  const empty = listed(/^Not enough arguments following: (.*)$/s)
  if (empty !== undefined) {
    const [name, spec] = Object.entries(options).find(
      ([option, { alias }]) => option === empty || alias === empty,
    ) ?? [empty, undefined]
    const value = spec === undefined ? 'a value' : `a value: --${name} ${valueWord(spec)}`
    return new CxvError('USAGE', `--${name} of ${verb} needs ${value}`, { hint })
  }
  const missing = listed(/^Missing required arguments?: (.*)$/s)
  if (missing !== undefined) {
    const spec = options[missing]
    const name = spec?.alias === undefined ? `--${missing}` : `-${spec.alias} or --${missing}`
    return new CxvError('USAGE', `${verb} needs ${name}`, { hint })
  }
  const choice = /Argument: ([^,]*), Given: (.*), Choices: (.*)$/s.exec(problem)
  if (choice !== null) {
    return new CxvError('USAGE', `--${choice[1]} takes ${choice[3]}, not ${choice[2]}`, { hint })
  }
  return new CxvError('USAGE', `${verb}: ${problem}`, { hint })
}

function collect(
  command: AnyCommand,
  options: Readonly<Record<string, OptionSpec>>,
  positionals: readonly PositionalSpec[],
  parsed: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> & { readonly _: Readonly<Record<string, readonly string[]>> } {
  const args: Record<string, unknown> = {}
  for (const [name, spec] of Object.entries(options)) {
    const value = parsed[name]
    if (value === undefined) continue
    if (spec.type !== 'strings' && Array.isArray(value)) {
      throw new CxvError('USAGE', `--${name} was given twice`, {
        hint: `cxv ${command.name} --help`,
      })
    }
    if (spec.type === 'number' && !(typeof value === 'number' && Number.isFinite(value))) {
      throw new CxvError('USAGE', `--${name} needs a number`, {
        hint: `cxv ${command.name} --help`,
      })
    }
    args[name] = Array.isArray(value) ? value.map(unmarkedText) : unmarkedText(value)
  }
  const words: Record<string, readonly string[]> = {}
  for (const p of positionals) {
    const value = parsed[p.name]
    words[p.name] = (Array.isArray(value) ? value : value === undefined ? [] : [value]).map(
      unmarked,
    )
  }
  const extra = parsed['_']
  if (Array.isArray(extra) && extra.length > 0) {
    const last = positionals.at(-1)
    if (last?.many) words[last.name] = [...(words[last.name] ?? []), ...extra.map(unmarked)]
    else {
      throw new CxvError('USAGE', `cxv ${command.name} does not take "${unmarked(extra[0])}"`, {
        hint: `cxv ${command.name} --help`,
      })
    }
  }
  return { ...args, _: words }
}
