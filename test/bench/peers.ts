import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { commitFacts, say } from './measure.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
export const CXV = [process.execPath, join(ROOT, 'bin', 'cxv.js')]

export type Step = 'add' | 'commit' | 'status' | 'status again' | 'push' | 'clone'

/** A tool that keeps versions, or copies files. */
export interface Peer {
  readonly name: string
  readonly skip?: string
  readonly version: string
  /** Where `clone` puts the files of `data/`, from that folder. */
  readonly cloned: string
  /** Runs the steps in its own folder, which holds the data as `data/`. */
  run(
    folder: string,
    env: Readonly<Record<string, string>>,
  ): Iterable<readonly [Step, readonly string[], string]>
}

const sh = (script: string): readonly string[] => ['sh', '-ec', script]

function versionOf(command: readonly string[]): string | undefined {
  const [program = '', ...args] = command
  const run = spawnSync(program, args, { encoding: 'utf8' })
  return run.status === 0 ? (run.stdout.trim().split('\n')[0] ?? '') : undefined
}

function absent(name: string, hint: string): Peer {
  return { name, skip: `${name} is absent (${hint})`, version: '', cloned: '', run: () => [] }
}

/** All that are compared with cxv; those that are absent say why. */
export function peers(dvc: string | undefined): readonly Peer[] {
  const cp: Peer = {
    name: 'cp',
    version: 'cp -r, then sync -f',
    cloned: 'copy2',
    *run(folder) {
      yield ['add', sh('cp -r data copy && sync -f copy'), folder]
      yield ['clone', sh('cp -r copy copy2 && sync -f copy2'), folder]
    },
  }
  const resticVersion = versionOf(['restic', 'version'])
  const restic: Peer =
    resticVersion === undefined
      ? absent('restic', 'Debian: restic')
      : {
          name: 'restic',
          version: resticVersion,
          cloned: 'copy/data',
          *run(folder) {
            spawnSync('restic', ['init', '-q', '-r', 'store'], {
              cwd: folder,
              env: { ...process.env, RESTIC_PASSWORD: 'x' },
            })
            yield ['add', ['restic', '-q', '-r', 'store', 'backup', 'data'], folder]
            yield ['status', ['restic', '-q', '-r', 'store', 'backup', 'data'], folder]
            yield ['status again', ['restic', '-q', '-r', 'store', 'backup', 'data'], folder]
            yield [
              'clone',
              ['restic', '-q', '-r', 'store', 'restore', 'latest', '--target', 'copy'],
              folder,
            ]
          },
        }
  const lfsVersion = versionOf(['git-lfs', 'version'])
  const lfs: Peer =
    lfsVersion === undefined
      ? absent('git-lfs', 'Debian: git-lfs')
      : {
          name: 'git-lfs',
          version: lfsVersion,
          cloned: '../clone/data',
          *run(folder, env) {
            spawnSync(
              'sh',
              [
                '-ec',
                'git init -q -b main . && git config user.name x && git config user.email x@y && git lfs install --local && git lfs track "*.png" && git add .gitattributes && git init -q --bare -b main ../remote.git && git remote add origin "file://$PWD/../remote.git" && git config lfs.url "file://$PWD/../remote.git"',
              ],
              { cwd: folder, env: { ...process.env, ...env } },
            )
            yield ['add', ['git', 'add', 'data'], folder]
            yield ['commit', ['git', 'commit', '-qm', 'first'], folder]
            yield ['status', ['git', 'status'], folder]
            yield ['status again', ['git', 'status'], folder]
            yield ['push', ['git', 'push', '-q', 'origin', 'main'], folder]
            yield [
              'clone',
              sh('git lfs install && git clone -q "file://$PWD/../remote.git" ../clone'),
              folder,
            ]
          },
        }
  const dvcPeer: Peer =
    dvc === undefined
      ? absent('dvc', 'PyPI could not be reached')
      : {
          name: 'dvc',
          version: `DVC ${versionOf([dvc, '--version']) ?? ''}`,
          cloned: '../clone/data',
          *run(folder, env) {
            spawnSync(
              'sh',
              [
                '-ec',
                `git init -q -b main . && git config user.name x && git config user.email x@y && "${dvc}" init -q && "${dvc}" config core.analytics false && mkdir ../remote && "${dvc}" remote add -q -d r "$PWD/../remote"`,
              ],
              { cwd: folder, env: { ...process.env, ...env } },
            )
            yield ['add', [dvc, 'add', '-q', 'data'], folder]
            yield ['status', [dvc, 'status', '-q'], folder]
            yield ['status again', [dvc, 'status', '-q'], folder]
            yield ['commit', sh('git add -A && git commit -qm first'), folder]
            yield ['push', [dvc, 'push', '-q'], folder]
            yield [
              'clone',
              sh(`git clone -q . ../clone && cd ../clone && "${dvc}" pull -q`),
              folder,
            ]
          },
        }
  return [cp, restic, lfs, dvcPeer]
}

export const cxvPeer: Peer = {
  name: 'cxv',
  version: `cxv at ${commitFacts()}`,
  cloned: '../clone/data',
  *run(folder) {
    spawnSync(CXV[0] ?? '', [CXV[1] ?? '', 'init'], { cwd: folder })
    spawnSync(CXV[0] ?? '', [CXV[1] ?? '', 'remote', 'add', 'r', join(folder, '..', 'remote')], {
      cwd: folder,
    })
    yield ['add', [...CXV, 'add', 'data'], folder]
    yield ['commit', [...CXV, 'commit', '-m', 'first'], folder]
    yield ['status', [...CXV, 'status'], folder]
    yield ['status again', [...CXV, 'status'], folder]
    yield ['push', [...CXV, 'push'], folder]
    yield [
      'clone',
      [...CXV, 'clone', join(folder, '..', 'remote'), join(folder, '..', 'clone')],
      folder,
    ]
  },
}

/** DVC in a virtual environment of the bench's own. */
export function installDvc(folder: string): string | undefined {
  const given = process.env['CXV_BENCH_DVC']
  if (given !== undefined && existsSync(given)) return given
  const venv = join(folder, 'venv')
  say('installing DVC from PyPI into a virtual environment')
  const made = spawnSync('python3', ['-m', 'venv', venv])
  if (made.status !== 0) return undefined
  const installed = spawnSync(join(venv, 'bin', 'pip'), ['install', '-q', 'dvc'], {
    timeout: 600_000,
  })
  return installed.status === 0 ? join(venv, 'bin', 'dvc') : undefined
}
