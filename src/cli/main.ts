import { resolve } from 'node:path'
import { randomBytes } from 'node:crypto'
import { CxvError, type Event, isCxvError, isRecord, nearest, printable } from '../base/index.ts'
import { VERBS, type VerbEntry } from '../commands/index.ts'
import type { AnyCommand, CommandContext, Outcome, TextStyle } from '../commands/types.ts'
import { cxvVersion, fileSystemError, isFolder } from '../io/index.ts'
import { GLOBAL_OPTIONS, parseArgs } from './argv.ts'
import { firstFailure } from './failure.ts'
import { familyHelp, topHelp } from './help.ts'
import {
  jsonRenderer,
  plainRenderer,
  quietRenderer,
  type Renderer,
  terminalRenderer,
} from './progress.ts'

/** Rooms above this one, handed in by bin/cxv.js so that imports keep looking down. */
export interface UpperRooms {
  readonly serve: () => Promise<{ readonly command: AnyCommand }>
}

/**
 * Runs one verb: argv in, exit status out. The only place that prints and the only one that knows
 * exit statuses.
 */
export async function main(argv: readonly string[], rooms: UpperRooms): Promise<number> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // The reader of a pipe went away (`cxv log | head`): nothing is wrong.
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
  const verbs: readonly VerbEntry[] = [
    ...VERBS,
    {
      name: 'serve',
      group: 'machine',
      summary: 'Answer another cxv over stdin and stdout (what ssh starts)',
      load: async () => (await rooms.serve()).command,
    },
  ]
  const { words, rest, wantsJson, directory, quiet, valueless } = splitGlobals(argv)
  const out = (text: string): void => void process.stdout.write(text)
  try {
    const first = words[0]
    const asksHelp = argv.includes('--help') || argv.includes('-h')
    if (valueless) {
      throw new CxvError('USAGE', '-C needs a folder', { hint: 'cxv -C DIR <verb> [options]' })
    }
    if (argv.includes('--version') && first === undefined) {
      out(`cxv ${cxvVersion()}\n`)
      return 0
    }
    if (first === undefined || first === 'help') {
      const asked = words.slice(1).join(' ')
      if (first === 'help' && asked !== '') return await main([...words.slice(1), '--help'], rooms)
      if (first === undefined && !asksHelp) {
        const option = rest[0]
        if (option !== undefined && option !== '--') throw unknownOption(option)
        if (wantsJson) {
          throw new CxvError('USAGE', 'no verb was given', { hint: 'cxv --help lists them' })
        }
      }
      out(`${topHelp(verbs)}\n`)
      return first === undefined && !asksHelp ? 2 : 0
    }
    const entry = findVerb(verbs, words)
    if (entry === undefined) {
      const family = verbs.filter((v) => v.name.startsWith(`${first} `)).map((v) => v.name)
      if (family.length > 0 && words.length === 1) {
        if (wantsJson && !asksHelp) {
          throw new CxvError('USAGE', `cxv ${first} needs another word`, {
            hint: `one of ${family.map((name) => `\`cxv ${name}\``).join(', ')}`,
          })
        }
        out(`${familyHelp(first, verbs)}\n`)
        return asksHelp ? 0 : 2
      }
      throw unknownVerb(verbs, words)
    }
    const command = await entry.load()
    const parsed = await parseArgs(command, withoutVerb(rest, entry.name))
    if ('help' in parsed) {
      out(`${parsed.help}\n`)
      return 0
    }
    return await execute(command, parsed.args, { wantsJson, quiet, directory })
  } catch (error) {
    return report(error, wantsJson)
  }
}

/** How often a task that says nothing is looked at. */
const TICK_MS = 500

interface Mode {
  readonly wantsJson: boolean
  readonly quiet: boolean
  readonly directory: string | undefined
}

async function execute(
  command: AnyCommand,
  args: Readonly<Record<string, unknown>>,
  mode: Mode,
): Promise<number> {
  const aborter = new AbortController()
  const renderer = chooseRenderer(mode)
  const onSignal = (signal: NodeJS.Signals): void => {
    if (aborter.signal.aborted) process.exit(130)
    aborter.abort(
      new CxvError('INTERRUPTED', `interrupted by ${signal}`, {
        hint: 'nothing is broken: run the same command again to go on',
      }),
    )
  }
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  const clock = setInterval(() => renderer.tick(), TICK_MS).unref()
  const quieten = (): void => {
    clearInterval(clock)
    renderer.close()
  }
  try {
    const cwd = mode.directory === undefined ? process.cwd() : resolve(mode.directory)
    if (mode.directory !== undefined && !isFolder(cwd)) {
      throw new CxvError('PATH_NOT_FOUND', `-C: there is no folder ${mode.directory}`, {
        hint: 'make it first, or look at how it is spelt',
        data: { path: cwd },
      })
    }
    const ctx: CommandContext = {
      emit: (event: Event) => renderer.emit(event),
      signal: aborter.signal,
      now: () => Date.now(),
      random: (length) => new Uint8Array(randomBytes(length)),
      cwd,
      env: process.env,
    }
    const outcome = await command.execute(ctx, args)
    quieten()
    await print(outcome, mode)
    return outcome.exit
  } catch (raw) {
    quieten()
    const error = firstFailure(raw)
    return report(
      aborter.signal.aborted && !isCxvError(error) ? aborter.signal.reason : error,
      mode.wantsJson,
    )
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  }
}

async function print(outcome: Outcome, mode: Mode): Promise<void> {
  if (mode.wantsJson) {
    await writeOut(`${JSON.stringify(outcome.json)}\n`)
    return
  }
  if (outcome.raw !== undefined) {
    for await (const piece of outcome.raw()) await writeOut(piece)
    return
  }
  let block = ''
  for (const line of outcome.text(textStyle())) {
    block += `${line}\n`
    if (block.length > 1 << 16) {
      await writeOut(block)
      block = ''
    }
  }
  if (block !== '') await writeOut(block)
}

const writeOut = (data: string | Uint8Array): Promise<void> =>
  new Promise((done) => {
    process.stdout.write(data, () => done())
  })

function chooseRenderer(mode: Mode): Renderer {
  const write = (text: string): void => void process.stderr.write(text)
  if (mode.wantsJson) return jsonRenderer(write, mode.quiet)
  if (mode.quiet) return quietRenderer(write)
  const now = (): number => Date.now()
  if (process.stderr.isTTY && process.env['TERM'] !== 'dumb') {
    return terminalRenderer(write, () => process.stderr.columns || 80, now)
  }
  return plainRenderer(write, now)
}

function textStyle(): TextStyle {
  const colour =
    process.stdout.isTTY && process.env['NO_COLOR'] === undefined && process.env['TERM'] !== 'dumb'
  const paint = (code: string) => (text: string) =>
    colour ? `\u001b[${code}m${text}\u001b[0m` : text
  return {
    bold: paint('1'),
    dim: paint('2'),
    red: paint('31'),
    green: paint('32'),
    yellow: paint('33'),
  }
}

/** Says what went wrong and how to mend it. @returns the exit status */
function report(raw: unknown, wantsJson: boolean): number {
  const error =
    isRecord(raw) && typeof raw['path'] === 'string' ? fileSystemError(raw, raw['path']) : raw
  if (isCxvError(error)) {
    if (wantsJson) {
      const { code, message, hint, data } = error
      process.stdout.write(
        `${JSON.stringify({ error: { code, message, ...(hint === undefined ? {} : { hint }), data } })}\n`,
      )
    } else {
      process.stderr.write(`cxv: ${error.message} [${error.code}]\n`)
      if (error.hint !== undefined) process.stderr.write(`hint: ${error.hint}\n`)
    }
    return error.exit
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  if (wantsJson) {
    process.stdout.write(
      `${JSON.stringify({ error: { code: 'BUG', message: printable(String(error)), data: {} } })}\n`,
    )
  }
  process.stderr.write(`cxv: a bug in cxv, not your fault. Please report this text:\n${stack}\n`)
  return 1
}

interface Split {
  /** Words before any option: where the verb is looked for. */
  readonly words: readonly string[]
  readonly rest: readonly string[]
  readonly wantsJson: boolean
  readonly quiet: boolean
  readonly directory: string | undefined
  /** -C stood last. */
  readonly valueless: boolean
}

/** Takes the global options that stand before the verb; those after it are left to the verb's parser. */
function splitGlobals(argv: readonly string[]): Split {
  const beforeDashes = argv.includes('--') ? argv.slice(0, argv.indexOf('--')) : argv
  const wantsJson = beforeDashes.includes('--json')
  const quiet = beforeDashes.includes('--quiet') || beforeDashes.includes('-q')
  let directory: string | undefined
  let valueless = false
  const rest: string[] = []
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!
    if (word === '--') {
      rest.push(...argv.slice(i))
      break
    }
    if (word === '-C' || word === '--directory') {
      directory = argv[++i]
      valueless ||= directory === undefined
    } else if (word.startsWith('-C')) directory = word.slice(2).replace(/^=/, '')
    else if (word.startsWith('--directory=')) directory = word.slice('--directory='.length)
    else if (word !== '--json' && word !== '--quiet' && word !== '-q') rest.push(word)
  }
  const words: string[] = []
  for (const word of rest) {
    if (word.startsWith('-')) break
    words.push(word)
  }
  return { words, rest, wantsJson, quiet, directory, valueless }
}

function findVerb(verbs: readonly VerbEntry[], words: readonly string[]): VerbEntry | undefined {
  const two = words.slice(0, 2).join(' ')
  return verbs.find((v) => v.name === two) ?? verbs.find((v) => v.name === words[0])
}

const withoutVerb = (rest: readonly string[], name: string): readonly string[] =>
  rest.slice(name.split(' ').length)

function unknownVerb(verbs: readonly VerbEntry[], words: readonly string[]): CxvError {
  const first = words[0] ?? ''
  const family = verbs.filter((v) => v.name.startsWith(`${first} `))
  const typed = family.length > 0 ? words.slice(0, 2).join(' ') : first
  // serve is for the other side of ssh: nobody means to type it.
  const offered = verbs.filter((v) => v.name !== 'serve')
  const near = nearest(
    typed,
    offered.map((v) => v.name),
  )
  return new CxvError('USAGE', `cxv has no verb "${typed}"`, {
    hint: near === undefined ? 'cxv --help lists them' : `did you mean \`cxv ${near}\`?`,
    data: { verb: typed, ...(near === undefined ? {} : { nearest: near }) },
  })
}

function unknownOption(word: string): CxvError {
  const near = nearest(word.replace(/^-+/, ''), [...Object.keys(GLOBAL_OPTIONS), 'help', 'version'])
  return new CxvError('USAGE', `cxv has no option ${word}`, {
    hint: near === undefined ? 'usage: cxv <verb> [options]' : `did you mean --${near}?`,
  })
}
