/** `test` of node:test, as a suite asks for it. */
export type TestFn = (name: string, fn: () => Promise<void>) => void
