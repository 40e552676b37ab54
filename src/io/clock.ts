/** Milliseconds since 1970. For rooms that are given no `Context`. */
export const systemNow = (): number => Date.now()
