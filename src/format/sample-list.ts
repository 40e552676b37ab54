import { createHash } from 'node:crypto'
import {
  compareUtf8,
  contentId,
  type ContentId,
  CxvError,
  fromUtf8,
  isSha256,
  type SampleListId,
  sampleListId,
  utf8,
} from '../base/index.ts'
import { escapePath, unescapePath } from './manifest.ts'

/** One line of a sample list. The same fields as the dataset room's `PinnedSample`. */
export interface SampleLine {
  readonly path: string
  readonly id: ContentId
  readonly group: string
  readonly split: 'train' | 'val' | 'test'
  readonly y: readonly number[]
}

const HEADER = 'cxv sample list 1'
const MAX_SAMPLES = 50_000_000
const CELL = /^[01?]$/

/**
 * The one encoding of an ordered sample list: a header line, then a line a sample of path, content id,
 * patient, split and labels, with tabs between. Its SHA-256 is the list's id.
 */
export function encodeSampleList(samples: readonly SampleLine[]): Uint8Array {
  const parts = [`${HEADER}\t${samples.length}\n`]
  for (const { path, id, group, split, y } of samples) {
    const labels = y.map((v) => (Number.isNaN(v) ? '?' : String(v))).join(',')
    parts.push(`${escapePath(path)}\t${id}\t${escapePath(group)}\t${split}\t${labels}\n`)
  }
  return utf8(parts.join(''))
}

export const sampleListIdOf = (bytes: Uint8Array): SampleListId =>
  sampleListId(createHash('sha256').update(bytes).digest('hex'))

/**
 * @param expected refuse bytes whose SHA-256 is another
 * @throws CxvError FORMAT_INVALID, CHUNK_CORRUPT
 */
export function decodeSampleList(
  bytes: Uint8Array,
  expected?: SampleListId,
): readonly SampleLine[] {
  if (expected !== undefined && sampleListIdOf(bytes) !== expected) {
    throw new CxvError(
      'CHUNK_CORRUPT',
      `the sample list does not match its id ${expected.slice(0, 12)}`,
      {
        hint: '`cxv fetch` brings it again from a remote that has it',
      },
    )
  }
  let text: string
  try {
    text = fromUtf8(bytes)
  } catch (cause) {
    throw invalid('it is not UTF-8', cause)
  }
  const lines = text.split('\n')
  const n = lines.length - 2
  // A byte order mark is not in the text.
  if (lines[0] !== `${HEADER}\t${n}` || n > MAX_SAMPLES || Buffer.byteLength(text) !== bytes.length)
    throw invalid('its header is wrong')
  if (lines.at(-1) !== '') throw invalid('it is cut off')
  const samples = lines.slice(1, -1).map(decodeLine)
  for (let i = 1; i < samples.length; i++) {
    const [before, sample] = [samples[i - 1], samples[i]]
    if (before === undefined || sample === undefined) break
    if (compareUtf8(before.path, sample.path) >= 0)
      throw invalid(`line ${i + 2} is not behind the one before it`)
  }
  return samples
}

function decodeLine(line: string, index: number): SampleLine {
  const [path, id, group, split, labels, more] = line.split('\t')
  if (
    path === undefined ||
    id === undefined ||
    group === undefined ||
    labels === undefined ||
    more !== undefined
  ) {
    throw invalid(`line ${index + 2} has not five cells`)
  }
  if (split !== 'train' && split !== 'val' && split !== 'test')
    throw invalid(`line ${index + 2} has no split`)
  if (!isSha256(id)) throw invalid(`line ${index + 2} has no content id`)
  const y = labels.split(',').map((cell) => {
    if (!CELL.test(cell)) throw invalid(`line ${index + 2} has a label that is no 0, 1 or ?`)
    return cell === '?' ? Number.NaN : Number(cell)
  })
  return { path: unescapePath(path), id: contentId(id), group: unescapeText(group), split, y }
}

/** A patient's name is escaped as a path is, but need not be one. */
function unescapeText(text: string): string {
  const plain = text.replace(/\\x([0-9a-f]{2})/g, (_all, hex: string) =>
    String.fromCharCode(parseInt(hex, 16)),
  )
  if (escapePath(plain) !== text) throw invalid(`a patient is not escaped as it must be: ${text}`)
  return plain
}

const invalid = (why: string, cause?: unknown): CxvError =>
  new CxvError('FORMAT_INVALID', `the sample list cannot be read: ${why}`, { cause })
