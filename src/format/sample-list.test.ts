import assert from 'node:assert/strict'
import { test } from 'node:test'
import { contentId, isCxvError, utf8 } from '../base/index.ts'
import { decodeSampleList, encodeSampleList, type SampleLine } from './sample-list.ts'

const ID = '0'.repeat(64)

const sample = (more: Partial<SampleLine>): SampleLine => ({
  path: 'a.png',
  id: contentId(ID),
  group: '1',
  split: 'train',
  y: [1],
  ...more,
})

test('a sample list has one encoding', () => {
  const list = [
    sample({ group: 'A\tB\\', y: [1, 0, Number.NaN] }),
    sample({ path: 'b".png', split: 'val' }),
  ]
  assert.deepEqual(decodeSampleList(encodeSampleList(list)), list)
  const line = (group: string, labels: string): string =>
    `a.png\t${ID}\t${group}\ttrain\t${labels}\n`
  const bad: Readonly<Record<string, string>> = {
    'a label between 0 and 1': `cxv sample list 1\t1\n${line('1', '0.5')}`,
    'a label that is not written so': `cxv sample list 1\t1\n${line('1', '01')}`,
    'a patient escaped where none is due': `cxv sample list 1\t1\n${line('\\x41', '1')}`,
    'a patient not escaped': `cxv sample list 1\t1\n${line('"', '1')}`,
    'a number of samples that is not written so': `cxv sample list 1\t01\n${line('1', '1')}`,
    'a third cell in the header': `cxv sample list 1\t1\tx\n${line('1', '1')}`,
    'a byte order mark': `\uFEFFcxv sample list 1\t1\n${line('1', '1')}`,
    'a path twice': `cxv sample list 1\t2\n${line('1', '1')}${line('1', '1')}`,
  }
  for (const [what, text] of Object.entries(bad)) {
    assert.throws(
      () => decodeSampleList(utf8(text)),
      (e) => isCxvError(e, 'FORMAT_INVALID'),
      what,
    )
  }
})
