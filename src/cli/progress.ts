import {
  type Event,
  formatBytes,
  formatCount,
  formatDuration,
  printable,
  type TaskUnit,
} from '../base/index.ts'

/** Where events go. `close` leaves the terminal clean. */
export interface Renderer {
  emit(event: Event): void
  /** Called now and then: a task that says nothing for long must be seen to live. */
  tick(): void
  close(): void
}

interface Running {
  readonly title: string
  readonly unit: TaskUnit
  readonly startedAt: number
  total: number | undefined
  done: number
  bytes: number
  note: string | undefined
  /** When its figures last came. */
  heardAt: number
}

type Write = (text: string) => void

const PLAIN_EVERY_MS = 10_000
const DRAW_EVERY_MS = 100
const SHOW_AFTER_MS = 500
/** Figures older than this are shown with how long the task has been running. */
const STALE_AFTER_MS = 1000

/** A single step tells nothing until it is over, but that time passes. */
const isOneStep = ({ unit, total }: Running): boolean => unit === 'steps' && total === 1

/** `images 412/1,000  41 %  96.1 MiB  48.3 MiB/s  2.1 s left` */
function progressLine(task: Running, now: number): string {
  if (isOneStep(task)) {
    return `${task.title}  ${formatDuration(now - task.startedAt)}`
  }
  const seconds = Math.max(0.001, (now - task.startedAt) / 1000)
  const parts = [task.title]
  const isBytes = task.unit === 'bytes'
  const show = (n: number): string => (isBytes ? formatBytes(n) : formatCount(n))
  const total = task.total !== undefined && task.total > 0 ? task.total : undefined
  parts.push(
    `${show(task.done)}${total === undefined ? '' : `/${show(total)}`}${isBytes ? '' : ` ${task.unit}`}`,
  )
  if (total !== undefined) parts.push(`${Math.floor((100 * Math.min(task.done, total)) / total)} %`)
  const bytes = isBytes ? task.done : task.bytes
  if (bytes > 0) {
    if (!isBytes) parts.push(formatBytes(bytes))
    parts.push(`${formatBytes(bytes / seconds)}/s`)
  } else if (!isBytes) {
    parts.push(`${(task.done / seconds).toFixed(task.done / seconds < 10 ? 1 : 0)}/s`)
  }
  if (total !== undefined && task.done > 0 && task.done < total) {
    parts.push(`${formatDuration(((total - task.done) / task.done) * seconds * 1000)} left`)
  }
  if (now - task.heardAt >= STALE_AFTER_MS) {
    parts.push(`${formatDuration(now - task.startedAt)} so far`)
  }
  if (task.note !== undefined) parts.push(printable(task.note))
  return parts.join('  ')
}

function sentence(event: Event): string | undefined {
  switch (event.type) {
    case 'note':
      return printable(event.message)
    case 'warn':
      return `warning: ${printable(event.message)}${event.hint === undefined ? '' : `\n  ${printable(event.hint)}`}`
    case 'wait':
      return `waiting for ${printable(event.holder)}: ${printable(event.what)} (${formatDuration(event.waitedMs)})`
    case 'retry':
      return `${printable(event.what)}: ${printable(event.reason)}; trying again in ${formatDuration(event.waitMs)} (${event.attempt})`
    case 'train.epoch': {
      const figures = Object.entries(event.metrics).map(
        ([k, v]) => `${k} ${Math.abs(v) < 1e-3 && v !== 0 ? v.toExponential(1) : v.toFixed(4)}`,
      )
      return `epoch ${event.epoch}/${event.epochs}  ${figures.join('  ')}${event.best ? '  best' : ''}`
    }
    default:
      return undefined
  }
}

function track(tasks: Map<string, Running>, event: Event, now: number): Running | undefined {
  if (event.type === 'task.start') {
    tasks.set(event.task, {
      title: event.title,
      unit: event.unit,
      startedAt: now,
      total: event.total,
      done: 0,
      bytes: 0,
      note: undefined,
      heardAt: now,
    })
  } else if (event.type === 'task.step') {
    const task = tasks.get(event.task)
    if (task === undefined) return undefined
    task.done = event.done
    task.total = event.total ?? task.total
    task.bytes = event.bytes ?? task.bytes
    task.note = event.note
    task.heardAt = now
    return task
  } else if (event.type === 'task.end') {
    const task = tasks.get(event.task)
    if (task === undefined) return undefined
    task.done = event.done
    task.bytes = event.bytes ?? task.bytes
    task.heardAt = now
    tasks.delete(event.task)
    return task
  }
  return undefined
}

const lastHeard = (tasks: ReadonlyMap<string, Running>): Running | undefined =>
  [...tasks.values()].reduce<Running | undefined>(
    (last, next) => (last === undefined || next.heardAt >= last.heardAt ? next : last),
    undefined,
  )

/** One line redrawn in place on a terminal's stderr; finished tasks over a second leave a line behind. */
export function terminalRenderer(write: Write, width: () => number, now: () => number): Renderer {
  const tasks = new Map<string, Running>()
  let drawn = false
  let drawnAt = 0
  const clear = (): void => {
    if (drawn) write('\r\u001b[K')
    drawn = false
  }
  const draw = (task: Running, time: number): void => {
    drawnAt = time
    write(`\r\u001b[K${progressLine(task, time).slice(0, Math.max(20, width() - 1))}`)
    drawn = true
  }
  return {
    emit(event) {
      const time = now()
      const task = track(tasks, event, time)
      const text = sentence(event)
      if (text !== undefined) {
        clear()
        write(`${text}\n`)
      } else if (event.type === 'task.end') {
        clear()
        if (task !== undefined && time - task.startedAt > 1000) {
          const done = isOneStep(task)
            ? task.title
            : progressLine({ ...task, total: undefined }, time)
          write(`${done}  in ${formatDuration(time - task.startedAt)}\n`)
        }
      } else if (
        task !== undefined &&
        time - task.startedAt > SHOW_AFTER_MS &&
        time - drawnAt > DRAW_EVERY_MS
      ) {
        draw(task, time)
      }
    },
    tick() {
      const time = now()
      const task = lastHeard(tasks)
      if (task === undefined || time - drawnAt <= DRAW_EVERY_MS) return
      if (time - task.startedAt > SHOW_AFTER_MS) draw(task, time)
    },
    close: clear,
  }
}

/**
 * For logs and pipes: a plain line every ten seconds about the task at hand, and one when a long task
 * ends. One clock for all tasks, so that many short ones in a row are not silent.
 */
export function plainRenderer(write: Write, now: () => number): Renderer {
  const tasks = new Map<string, Running>()
  let saidAt = now()
  return {
    emit(event) {
      const time = now()
      const task = track(tasks, event, time)
      const text = sentence(event)
      if (text !== undefined) write(`${text}\n`)
      if (task === undefined) return
      const long = event.type === 'task.end' && time - task.startedAt > PLAIN_EVERY_MS
      if (long || time - saidAt > PLAIN_EVERY_MS) {
        saidAt = time
        write(`${progressLine(task, time)}\n`)
      }
    },
    tick() {
      const time = now()
      const task = lastHeard(tasks)
      if (task === undefined || time - saidAt <= PLAIN_EVERY_MS) return
      saidAt = time
      write(`${progressLine(task, time)}\n`)
    },
    close: () => undefined,
  }
}

/** Events as JSON lines; quiet: warnings only. */
export const jsonRenderer = (write: Write, quiet = false): Renderer => ({
  emit: (event) => {
    if (!quiet || event.type === 'warn') write(`${JSON.stringify(event)}\n`)
  },
  tick: () => undefined,
  close: () => undefined,
})

/** Warnings only. */
export const quietRenderer = (write: Write): Renderer => ({
  emit: (event) => {
    if (event.type === 'warn') write(`${sentence(event) ?? ''}\n`)
  },
  tick: () => undefined,
  close: () => undefined,
})
