import { fromUtf8, utf8 } from './bytes.ts'

export type Json =
  null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** `JSON.parse` typed as what it is: something unknown that the caller must look at. @throws SyntaxError */
export const parseJson = (text: string): unknown => JSON.parse(text) as unknown

/** @throws SyntaxError or TypeError when the bytes are not UTF-8 JSON */
export const parseJsonBytes = (bytes: Uint8Array): unknown => parseJson(fromUtf8(bytes))

/** JSON with sorted keys and no spaces: one encoding of one value, so that it can be hashed. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((v) => canonicalJson(v)).join(',')}]`
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value)
      .filter(([, v]) => v !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${canonicalJson(v)}`).join(',')}}`
  }
  return JSON.stringify(value)
}

/** Indented JSON for files that people read, with a newline at the end. */
export const prettyJsonBytes = (value: unknown): Uint8Array =>
  utf8(`${JSON.stringify(value, null, 2)}\n`)

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}
