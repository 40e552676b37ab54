import type { Context } from '../base/index.ts'

export interface OptionSpec {
  readonly type: 'string' | 'boolean' | 'number' | 'strings'
  readonly describe: string
  readonly alias?: string
  readonly choices?: readonly string[]
  readonly required?: true
  /** Shown in help as `--name <placeholder>`. */
  readonly placeholder?: string
}

export interface PositionalSpec {
  readonly name: string
  readonly describe: string
  readonly required?: true
  /** Takes all that is left. Only the last one may. */
  readonly many?: true
}

type OptionValue<S extends OptionSpec> = S['type'] extends 'string'
  ? string
  : S['type'] extends 'boolean'
    ? boolean
    : S['type'] extends 'number'
      ? number
      : readonly string[]

export type OptionValues<O extends Readonly<Record<string, OptionSpec>>> = {
  readonly [K in keyof O]: O[K] extends { required: true }
    ? OptionValue<O[K]>
    : OptionValue<O[K]> | undefined
}

export interface CommandContext extends Context {
  readonly cwd: string
  readonly env: Readonly<Record<string, string | undefined>>
}

export interface TextStyle {
  bold(text: string): string
  dim(text: string): string
  green(text: string): string
  red(text: string): string
  yellow(text: string): string
}

/** A verb. It returns plain JSON (`--json` prints it as it is) and how to say it in text. */
export interface Command<R, O extends Readonly<Record<string, OptionSpec>>> {
  /** `add`, or `table add` for a verb of two words. */
  readonly name: string
  readonly summary: string
  /** Paragraphs for `--help`, after the usage. */
  readonly description?: string
  readonly examples?: readonly (readonly [command: string, what: string])[]
  readonly positionals?: readonly PositionalSpec[]
  readonly options: O
  run(
    ctx: CommandContext,
    args: OptionValues<O> & { readonly _: Readonly<Record<string, readonly string[]>> },
  ): Promise<R>
  text(result: R, style: TextStyle): Iterable<string>
  /** Bytes for stdout instead of text (`cat`); not used with --json. */
  raw?(result: R): AsyncIterable<Uint8Array>
  /** Exit status for a result that is no error but no success either (fsck found damage: 14; part failed: 3). */
  exit?(result: R): number
}

/** Keeps the option types that `run` sees. */
export const defineCommand = <R, O extends Readonly<Record<string, OptionSpec>>>(
  command: Command<R, O>,
): Command<R, O> => command

/** A command whose types the dispatcher need not know. */
export interface AnyCommand {
  readonly name: string
  readonly summary: string
  readonly description?: string
  readonly examples?: readonly (readonly [string, string])[]
  readonly positionals?: readonly PositionalSpec[]
  readonly options: Readonly<Record<string, OptionSpec>>
  execute(ctx: CommandContext, args: Readonly<Record<string, unknown>>): Promise<Outcome>
}

export interface Outcome {
  readonly json: unknown
  readonly exit: number
  text(style: TextStyle): Iterable<string>
  readonly raw?: () => AsyncIterable<Uint8Array>
}

/** Hides the types of a command from the dispatcher. */
export function erase<R, O extends Readonly<Record<string, OptionSpec>>>(
  command: Command<R, O>,
): AnyCommand {
  return {
    ...command,
    async execute(ctx, args) {
      // The dispatcher parsed argv by command.options, so the values have these types.
      const result = await command.run(ctx, args as Parameters<typeof command.run>[1])
      return {
        json: result,
        exit: command.exit?.(result) ?? 0,
        text: (style) => command.text(result, style),
        ...(command.raw === undefined ? {} : { raw: () => command.raw!(result) }),
      }
    },
  }
}
