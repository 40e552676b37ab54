/** What the core says while it works. Names are stable; docs/events.md lists them. */
export type Event =
  | {
      readonly type: 'task.start'
      readonly task: string
      readonly title: string
      readonly unit: TaskUnit
      readonly total?: number
    }
  | {
      readonly type: 'task.step'
      readonly task: string
      readonly done: number
      readonly total?: number
      readonly bytes?: number
      readonly note?: string
    }
  | {
      readonly type: 'task.end'
      readonly task: string
      readonly done: number
      readonly bytes?: number
    }
  /** One line a person should read once: a choice made and why. */
  | { readonly type: 'note'; readonly message: string }
  | {
      readonly type: 'warn'
      readonly code: string
      readonly message: string
      readonly hint?: string
    }
  /** Waiting for another process or machine. */
  | {
      readonly type: 'wait'
      readonly what: string
      readonly holder: string
      readonly waitedMs: number
    }
  | {
      readonly type: 'retry'
      readonly what: string
      readonly attempt: number
      readonly waitMs: number
      readonly reason: string
    }
  | {
      readonly type: 'train.epoch'
      readonly epoch: number
      readonly epochs: number
      readonly metrics: Readonly<Record<string, number>>
      readonly best: boolean
    }

export type TaskUnit =
  'bytes' | 'files' | 'images' | 'steps' | 'packs' | 'rows' | 'chunks' | 'commits' | 'runs'

export interface Context {
  readonly emit: (event: Event) => void
  /** Aborted by Ctrl-C or SIGTERM. Check it in every loop over I/O. */
  readonly signal: AbortSignal
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Cryptographically random bytes (ids only: training derives all from its seed). */
  readonly random: (length: number) => Uint8Array
}

/** Counts work and reports it at most ten times a second. `bytes` is shown as rate when given. */
export interface Task {
  advance(amount: number, bytes?: number, note?: string): void
  setTotal(total: number): void
  end(): void
}

const REPORT_EVERY_MS = 100
let lastTask = 0

/** Starts a progress task. The caller must call `end()`, also when it fails (use `try/finally`). */
export function startTask(ctx: Context, title: string, unit: TaskUnit, total?: number): Task {
  const task = `${title}#${++lastTask}`
  let done = 0
  let bytes = 0
  let goal = total
  let reportedAt = ctx.now()
  ctx.emit({
    type: 'task.start',
    task,
    title,
    unit,
    ...(goal === undefined ? {} : { total: goal }),
  })
  return {
    advance(amount, moreBytes = 0, note) {
      done += amount
      bytes += moreBytes
      const now = ctx.now()
      if (now - reportedAt < REPORT_EVERY_MS) return
      reportedAt = now
      ctx.emit({
        type: 'task.step',
        task,
        done,
        ...(goal === undefined ? {} : { total: goal }),
        ...(bytes > 0 ? { bytes } : {}),
        ...(note === undefined ? {} : { note }),
      })
    },
    setTotal(next) {
      goal = next
    },
    end() {
      ctx.emit({ type: 'task.end', task, done, ...(bytes > 0 ? { bytes } : {}) })
    },
  }
}

/** Passes things on and counts them as a task, which ends when they do, or when the loop over them does. */
export async function* counting<T>(
  ctx: Context,
  title: string,
  unit: TaskUnit,
  things: AsyncIterable<T> | Iterable<T>,
  total?: number,
): AsyncGenerator<T> {
  const task = startTask(ctx, title, unit, total)
  try {
    for await (const thing of things) {
      yield thing
      task.advance(1)
    }
  } finally {
    task.end()
  }
}

/** @throws CxvError INTERRUPTED is thrown by the caller's own check; this throws the signal's reason. */
export function throwIfAborted(ctx: Pick<Context, 'signal'>): void {
  ctx.signal.throwIfAborted()
}
