import { type SampleListId, utf8 } from '../base/index.ts'
import { decodeSampleList } from '../format/index.ts'
import { csvLine } from '../table/index.ts'
import type { TrainResult } from '../train/index.ts'

/** `predictions.csv`: what the best model said of every validation and test image. */
export function predictionsCsv(
  sampleList: Uint8Array,
  { predictions, evaluation }: TrainResult,
  id: SampleListId,
): Uint8Array {
  const labels = evaluation.test.labels.map((l) => l.label)
  const head = [
    'path',
    'patient',
    'split',
    ...labels.flatMap((l) => [`${l} (truth)`, `${l} (probability)`]),
  ]
  const lines = [csvLine(head)]
  const samples = decodeSampleList(sampleList, id)
  for (const split of ['val', 'test'] as const) {
    const members = samples.filter((s) => s.split === split)
    const { probabilities } = predictions[split]
    for (const [i, sample] of members.entries()) {
      const figures = labels.flatMap((_label, k) => {
        const truth = sample.y[k] ?? Number.NaN
        return [
          Number.isNaN(truth) ? '' : String(truth),
          (probabilities[i * labels.length + k] ?? Number.NaN).toFixed(6),
        ]
      })
      lines.push(csvLine([sample.path, sample.group, split, ...figures]))
    }
  }
  return utf8(`${lines.join('\n')}\n`)
}
