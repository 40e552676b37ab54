import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isRecord, parseJson } from '../../src/base/index.ts'
import { findEngines } from '../../src/commands/engine-find.ts'
import { commitFacts, machineFacts, markdownTable, say } from './measure.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const HERE = fileURLToPath(new URL('./', import.meta.url))
const BATCH = 32
const SIZE = 64
const ROUNDS = 3

interface Rate {
  readonly version: string
  readonly imagesPerSecond: number
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN

function engineRate(name: string, steps: number, module?: string): Rate | string {
  const args = [join(HERE, 'train-engine.js'), name, String(steps), String(BATCH), String(SIZE)]
  const run = spawnSync(process.execPath, module === undefined ? args : [...args, module], {
    encoding: 'utf8',
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2' },
  })
  const line = run.stdout.trim().split('\n').at(-1) ?? ''
  if (run.status !== 0) return `it failed: ${run.stderr.trim().split('\n').at(-1) ?? ''}`
  const value = parseJson(line)
  return isRecord(value) && typeof value['imagesPerSecond'] === 'number'
    ? { version: String(value['version']), imagesPerSecond: value['imagesPerSecond'] }
    : 'it printed no figure'
}

function torchRate(steps: number): Rate | string {
  const script = join(ROOT, 'test', 'bench', 'small_cnn_torch.py')
  for (const python of ['/usr/bin/python3', 'python3']) {
    const run = spawnSync(
      python,
      [script, String(steps), String(BATCH), String(SIZE), String(availableParallelism())],
      { encoding: 'utf8' },
    )
    if (run.status !== 0) continue
    const [version = '', rate] = run.stdout.trim().split(' ')
    return { version: `PyTorch ${version}`, imagesPerSecond: Number(rate) }
  }
  return 'PyTorch is absent (Debian: python3-torch)'
}

export async function benchTrain(argv: readonly string[]): Promise<number> {
  await Promise.resolve()
  const { values } = parseArgs({
    args: [...argv],
    options: { steps: { type: 'string', default: '20' } },
  })
  const steps = Number(values.steps)
  const [tensorflow] = findEngines(process.env)
  const subjects: readonly (readonly [string, () => Rate | string])[] = [
    ['wasm', () => engineRate('wasm', Math.max(4, Math.round(steps / 4)))],
    [
      'tensorflow',
      () =>
        tensorflow === undefined
          ? 'the tensorflow engine is not set up (`cxv engine add tensorflow`)'
          : engineRate('tensorflow', steps, tensorflow.module),
    ],
    ['PyTorch', () => torchRate(steps)],
  ]
  const rates = new Map<string, { version: string; values: number[] }>()
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, measureOne] of subjects) {
      const rate = measureOne()
      if (typeof rate === 'string') {
        if (round === 0) say(`skipped ${name}: ${rate}`)
        continue
      }
      const entry = rates.get(name) ?? { version: rate.version, values: [] }
      entry.values.push(rate.imagesPerSecond)
      rates.set(name, entry)
      say(`round ${round + 1}  ${name.padEnd(11)} ${rate.imagesPerSecond.toFixed(0)} images/s`)
    }
  }
  const rateOf = (name: string): number => median(rates.get(name)?.values ?? [])
  const over = (name: string, other: string): string => {
    const ratio = rateOf(name) / rateOf(other)
    return Number.isNaN(ratio) ? '-' : ratio.toFixed(2)
  }
  const rows = [...rates].map(([name, { version, values: list }]) => [
    name,
    version,
    median(list).toFixed(0),
    `${Math.min(...list).toFixed(0)} to ${Math.max(...list).toFixed(0)}`,
    over(name, 'wasm'),
    over(name, 'PyTorch'),
  ])
  const gain = rateOf('tensorflow') / rateOf('wasm')
  const text = [
    '# Training step: images per second',
    '',
    `\`npm run bench -- train\`: small_cnn, one channel, ${SIZE} px, batch ${BATCH}, forward + backward + clipping + Adam on noise; each in a process of its own, ${ROUNDS} rounds in turn, medians. PyTorch runs the same layers with ${availableParallelism()} threads; wasm has one thread.`,
    '',
    `${machineFacts()}; cxv at ${commitFacts()}.`,
    '',
    markdownTable(['engine', 'version', 'images/s', 'range', 'x wasm', 'x PyTorch'], rows),
    '',
    `tensorflow over wasm: ${Number.isNaN(gain) ? 'not measured' : `${gain.toFixed(1)}x (at least 4x is asked: ${gain >= 4 ? 'reached' : 'not reached'})`}`,
    '',
  ].join('\n')
  say(text)
  mkdirSync(join(ROOT, 'docs', 'bench'), { recursive: true })
  writeFileSync(join(ROOT, 'docs', 'bench', 'train.md'), text)
  return 0
}
