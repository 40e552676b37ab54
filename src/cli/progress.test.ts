import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jsonRenderer, plainRenderer, quietRenderer, terminalRenderer } from './progress.ts'

const START = {
  type: 'task.start',
  task: 't',
  title: 'adding',
  unit: 'files',
  total: 1000,
} as const

test('without a terminal a task says a plain line every ten seconds, with rate and time left', () => {
  let clock = 0
  const lines: string[] = []
  const renderer = plainRenderer(
    (text) => lines.push(text),
    () => clock,
  )
  renderer.emit(START)
  clock = 5_000
  renderer.emit({ type: 'task.step', task: 't', done: 250, bytes: 250 << 20 })
  assert.deepEqual(lines, [])
  clock = 11_000
  renderer.emit({ type: 'task.step', task: 't', done: 500, bytes: 550 << 20 })
  assert.deepEqual(lines, ['adding  500/1,000 files  50 %  550.0 MiB  50.0 MiB/s  11.0 s left\n'])
})

test('many short tasks in a row still say a plain line every ten seconds', () => {
  let clock = 0
  const lines: string[] = []
  const renderer = plainRenderer(
    (text) => lines.push(text),
    () => clock,
  )
  for (let i = 0; i < 15; i++) {
    const task = `t${i}`
    renderer.emit({ ...START, task, title: `task ${i}` })
    clock += 3_000
    renderer.emit({ type: 'task.end', task, done: 1000 })
  }
  assert.deepEqual(
    lines.map((line) => line.split('  ')[0]),
    ['task 3', 'task 7', 'task 11'],
  )
})

test('a task of one step shows how long it has gone on', () => {
  let clock = 0
  const lines: string[] = []
  const renderer = plainRenderer(
    (text) => lines.push(text),
    () => clock,
  )
  renderer.emit({ ...START, title: 'compiling', unit: 'steps', total: 1 })
  clock = 12_000
  renderer.emit({ type: 'task.step', task: 't', done: 0, total: 1 })
  assert.deepEqual(lines, ['compiling  12.0 s\n'])
})

test('a terminal gets one line redrawn, cleared before a note and at the end', () => {
  let clock = 0
  let screen = ''
  const renderer = terminalRenderer(
    (text) => {
      screen += text
    },
    () => 60,
    () => clock,
  )
  renderer.emit(START)
  clock = 100
  renderer.emit({ type: 'task.step', task: 't', done: 10 })
  assert.equal(screen, '', 'nothing is drawn in the first half second')
  clock = 900
  renderer.emit({ type: 'task.step', task: 't', done: 100 })
  assert.match(screen, /\r\u001b\[Kadding {2}100\/1,000 files {2}10 %/)
  renderer.emit({ type: 'note', message: 'engine: wasm' })
  assert.ok(screen.endsWith('\r\u001b[Kengine: wasm\n'))
})

test('a task that says nothing is still heard of every ten seconds, with its last figures', () => {
  let clock = 0
  const lines: string[] = []
  const renderer = plainRenderer(
    (text) => lines.push(text),
    () => clock,
  )
  renderer.emit({ ...START, unit: 'bytes', total: 10 << 20 })
  clock = 9_000
  renderer.tick()
  assert.deepEqual(lines, [])
  clock = 10_500
  renderer.tick()
  clock = 12_000
  renderer.emit({ type: 'task.step', task: 't', done: 5 << 20 })
  renderer.tick()
  clock = 21_000
  renderer.tick()
  assert.deepEqual(lines, [
    'adding  0 B/10.0 MiB  0 %  10.5 s so far\n',
    'adding  5.00 MiB/10.0 MiB  50 %  243.8 KiB/s  21.0 s left  21.0 s so far\n',
  ])
  renderer.emit({ type: 'task.end', task: 't', done: 5 << 20 })
  lines.length = 0
  clock = 99_000
  renderer.tick()
  assert.deepEqual(lines, [], 'a task that ended is not heard of')
})

test('a terminal shows a task that has not said anything yet, and nothing when there is none', () => {
  let clock = 0
  const screen: string[] = []
  const renderer = terminalRenderer(
    (text) => screen.push(text),
    () => 60,
    () => clock,
  )
  clock = 5_000
  renderer.tick()
  renderer.emit(START)
  clock = 5_400
  renderer.tick()
  assert.deepEqual(screen, [])
  clock = 7_000
  renderer.tick()
  assert.deepEqual(screen, ['\r\u001b[Kadding  0/1,000 files  0 %  0.0/s  2.0 s so far'])
  renderer.close()
  assert.equal(screen.at(-1), '\r\u001b[K')
})

test('control characters of a message never reach the terminal', () => {
  const lines: string[] = []
  quietRenderer((text) => lines.push(text)).emit({
    type: 'warn',
    code: 'X',
    message: 'bad \u001b[2Jname',
  })
  assert.deepEqual(lines, ['warning: bad ?[2Jname\n'])
})

test('with --json and --quiet only warnings are told', () => {
  for (const quiet of [false, true]) {
    const lines: string[] = []
    const renderer = jsonRenderer((text) => lines.push(text), quiet)
    renderer.emit(START)
    renderer.emit({ type: 'note', message: 'engine: wasm' })
    renderer.emit({ type: 'warn', code: 'X', message: 'careful' })
    renderer.emit({ type: 'task.end', task: 't', done: 1 })
    assert.equal(lines.length, quiet ? 1 : 4)
    if (quiet) assert.match(lines[0] ?? '', /careful/)
  }
})
