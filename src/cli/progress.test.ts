import assert from 'node:assert/strict'
import { test } from 'node:test'
import { plainRenderer, quietRenderer, terminalRenderer } from './progress.ts'

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

test('control characters of a message never reach the terminal', () => {
  const lines: string[] = []
  quietRenderer((text) => lines.push(text)).emit({
    type: 'warn',
    code: 'X',
    message: 'bad \u001b[2Jname',
  })
  assert.deepEqual(lines, ['warning: bad ?[2Jname\n'])
})
