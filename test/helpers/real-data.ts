import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** Real chest X-rays beside the project; never part of it. */
export const REAL_DATA = resolve('..', 'shared', 'data')

/** Why the real data cannot be used here, or undefined. */
export function realDataSkipReason(): string | undefined {
  const manifest = join(REAL_DATA, 'images', 'manifest.csv')
  return existsSync(manifest) ? undefined : `${manifest} is absent`
}

export interface RealImage {
  readonly file: string
  /** A cell of its row in the manifest. */
  cell(column: string): string
}

/** The images of these sets, in the manifest's order. */
export function realImages(...sets: readonly string[]): RealImage[] {
  const text = readFileSync(join(REAL_DATA, 'images', 'manifest.csv'), 'utf8')
  const [header = [], ...rows] = text.trimEnd().split('\n').map(cellsOf)
  const at = (row: readonly string[], column: string): string => {
    const value = row[header.indexOf(column)]
    assert.ok(value !== undefined, `manifest.csv has no ${column}`)
    return value
  }
  return rows
    .filter((row) => sets.includes(at(row, 'set')))
    .map((row) => ({ file: join(REAL_DATA, at(row, 'path')), cell: (column) => at(row, column) }))
}

/** RFC 4180, without line breaks inside cells: the manifest has none. */
const cellsOf = (line: string): readonly string[] =>
  [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,\r]*))/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
  )
