import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makePhantoms } from '../../fixtures/phantom.ts'
import type { Machine } from './cli.ts'

const TRAIN = `version: 1
name: tiny
task: binary
data:
  table: labels
  label: { column: Finding Labels }
  group: Patient ID
label_policy: { positive: [Effusion] }
image: { size: 16 }
train: { epochs: 1, batch: 16 }
early_stop: { monitor: none }
evaluate: { bootstrap: 0 }
engine: wasm
`

/**
 * A repository in which `cxv run` takes a second: 24 patients at 32 px with their table, `train.yaml`
 * and `notes.txt`, all committed. @returns the commit
 */
export async function makeTrainable(who: Machine, work: string): Promise<string> {
  await makePhantoms({ out: work, patients: 24, size: 32, seed: 3, labels: ['Effusion'] })
  writeFileSync(join(work, 'train.yaml'), TRAIN)
  writeFileSync(join(work, 'notes.txt'), 'as committed\n')
  await who.ok(work, 'init')
  await who.ok(work, 'add', '.')
  await who.ok(work, 'table', 'add', 'labels', 'Data_Entry.csv', '--key', 'Image Index')
  const made = await who.json(work, 'commit', '-m', 'phantoms')
  return (made as { readonly commit: string }).commit
}
