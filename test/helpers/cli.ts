import { once } from 'node:events'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseJson } from '../../src/base/index.ts'

/** The project's folder. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
export const CXV = join(ROOT, 'bin', 'cxv.js')

/** How a process ended and what it said. */
export interface Ended {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Started {
  readonly ended: Promise<Ended>
  /** SIGKILL when none is named. */
  kill(signal?: NodeJS.Signals): void
  /** Resolves when stderr holds these words. */
  says(words: RegExp): Promise<void>
}

/** A machine with a user of its own: nothing of the real home folder is seen. */
export interface Machine {
  readonly home: string
  readonly env: NodeJS.ProcessEnv
  /** `cxv ARGS` in a folder, started and not waited for. */
  start(cwd: string, ...args: readonly string[]): Started
  cxv(cwd: string, ...args: readonly string[]): Promise<Ended>
  /** The same, which must succeed. @returns stdout */
  ok(cwd: string, ...args: readonly string[]): Promise<string>
  /** With --json, which must succeed. */
  json(cwd: string, ...args: readonly string[]): Promise<unknown>
  /** With --json, which must fail. @returns what is under `error`, and the exit status */
  fails(cwd: string, ...args: readonly string[]): Promise<Failure>
}

export interface Failure {
  readonly status: number | null
  readonly code: string
  readonly message: string
  readonly hint: string
  readonly data: unknown
}

/** @param home made when it is absent */
export function machine(
  home: string,
  name = 'Ada Tester',
  more: Readonly<Record<string, string>> = {},
): Machine {
  mkdirSync(home, { recursive: true })
  const env: NodeJS.ProcessEnv = {
    PATH: process.env['PATH'],
    TMPDIR: process.env['TMPDIR'],
    LANG: 'C.UTF-8',
    HOME: home,
    CXV_AUTHOR_NAME: name,
    CXV_AUTHOR_EMAIL: `${name.toLowerCase().replaceAll(' ', '.')}@example.org`,
    ...more,
  }
  const start: Machine['start'] = (cwd, ...args) =>
    startProgram(process.execPath, [CXV, ...args], { cwd, env })
  const cxv: Machine['cxv'] = (cwd, ...args) => start(cwd, ...args).ended
  const ok: Machine['ok'] = async (cwd, ...args) => {
    const { status, signal, stdout, stderr } = await cxv(cwd, ...args)
    assert.equal(status, 0, `cxv ${args.join(' ')}: ${signal ?? ''}\n${stdout}\n${stderr}`)
    return stdout
  }
  return {
    home,
    env,
    start,
    cxv,
    ok,
    json: async (cwd, ...args) => parseJson(await ok(cwd, ...args, '--json')),
    async fails(cwd, ...args) {
      const { status, stdout, stderr } = await cxv(cwd, ...args, '--json')
      assert.notEqual(status, 0, `cxv ${args.join(' ')} should have failed:\n${stdout}`)
      assert.match(stdout, /^\{/, stderr)
      const error = at(parseJson(stdout), 'error')
      return {
        status,
        code: text(error, 'code'),
        message: text(error, 'message'),
        hint: text(error, 'hint'),
        data: at(error, 'data'),
      }
    },
  }
}

export function startProgram(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Started {
  const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => (stdout += part))
  child.stderr.setEncoding('utf8').on('data', (part: string) => (stderr += part))
  return {
    ended: new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr }))
    }),
    kill: (signal = 'SIGKILL') => void child.kill(signal),
    async says(words) {
      while (!words.test(stderr)) await once(child.stderr, 'data')
    },
  }
}

/** A program that must succeed. @returns stdout */
export async function program(
  name: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<string> {
  const { status, stdout, stderr } = await startProgram(name, args, options).ended
  assert.equal(status, 0, `${name} ${args.join(' ')}:\n${stdout}\n${stderr}`)
  return stdout
}

/** What lies at these keys of a JSON value; undefined where there is nothing. */
export function at(value: unknown, ...keys: readonly (string | number)[]): unknown {
  let here = value
  for (const key of keys) {
    if (typeof here !== 'object' || here === null) return undefined
    here = (here as Readonly<Record<string | number, unknown>>)[key]
  }
  return here
}

export function text(value: unknown, ...keys: readonly (string | number)[]): string {
  const found = at(value, ...keys)
  assert.ok(typeof found === 'string', `no text at ${keys.join('.')} of ${shown(value)}`)
  return found
}

export function number(value: unknown, ...keys: readonly (string | number)[]): number {
  const found = at(value, ...keys)
  assert.ok(typeof found === 'number', `no number at ${keys.join('.')} of ${shown(value)}`)
  return found
}

export function list(value: unknown, ...keys: readonly (string | number)[]): readonly unknown[] {
  const found = at(value, ...keys)
  assert.ok(Array.isArray(found), `no list at ${keys.join('.')} of ${shown(value)}`)
  return found
}

const shown = (value: unknown): string => JSON.stringify(value)?.slice(0, 600) ?? 'undefined'
