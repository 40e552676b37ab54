/** Milliseconds since 1970. For rooms that are given no `Context`. */
export const systemNow = (): number => Date.now()

/** Lets what waits have its turn: without it a loop of synchronous calls is deaf to Ctrl-C. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
