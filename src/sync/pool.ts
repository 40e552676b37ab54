/** Runs `work` for every item, at most `limit` at a time; the first failure stops new ones and is thrown. */
export async function forEachBounded<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]()
  let stopped = false
  const worker = async (): Promise<void> => {
    while (!stopped) {
      const next = iterator.next()
      if (next.done === true) return
      try {
        await work(next.value)
      } catch (error) {
        stopped = true
        throw error
      }
    }
  }
  const results = await Promise.allSettled(Array.from({ length: limit }, worker))
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

/** The results in the order of the items, with at most `limit` asked for ahead. */
export async function* inOrder<T, R>(
  items: readonly T[],
  limit: number,
  get: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const ahead: Promise<R>[] = []
  let next = 0
  try {
    while (next < items.length || ahead.length > 0) {
      while (next < items.length && ahead.length < limit) {
        const item = items[next++] as T
        ahead.push(get(item))
      }
      const first = ahead.shift()
      if (first !== undefined) yield await first
    }
  } finally {
    await Promise.allSettled(ahead)
  }
}
