import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { svgToPng } from './plot-png.ts'
import { lossSvg, rocSvg, type RocLine } from './plots.ts'

const curve = (label: string, more: Partial<RocLine> = {}): RocLine => ({
  label,
  auroc: 0.9123,
  interval: [0.88, 0.94],
  points: [
    [0, 0],
    [0.1, 0.8],
    [1, 1],
  ],
  ...more,
})

test('a ROC plot names its curves, their AUROC with interval, chance and the data', () => {
  const svg = rocSvg({
    title: 'effusion',
    subtitle: 'run r1',
    curves: [curve('sick')],
    data: { split: 'test', images: 1194, patients: 1 },
  })
  for (const words of [
    'effusion',
    'run r1',
    'sick',
    '0.912 (0.880–0.940)',
    'chance, 0.5',
    '1,194 test images of 1 patient<',
    'False positive rate',
    'True positive rate',
  ]) {
    assert.ok(svg.includes(words), words)
  }
  assert.equal(svg.match(/<path /g)?.length, 1)
})

test('the curve goes where its points say', () => {
  const svg = rocSvg({ title: '', curves: [curve('a')] })
  // Corner (0, 0) is bottom left, (1, 1) top right of the panel.
  assert.match(svg, /d="M72 532L118 164L532 72"/)
})

test('labels that are not defined have no curve but keep their place', () => {
  const svg = rocSvg({
    title: '',
    curves: [curve('Hernia', { auroc: null, interval: null, points: [] }), curve('Mass')],
  })
  assert.match(svg, /not defined/)
  assert.equal(svg.match(/<path /g)?.length, 1)
  assert.ok(svg.includes('stroke="#D55E00"'), 'the second colour stays with the second label')
})

test('forty labels are cut to what can be read, and told', () => {
  const curves = Array.from({ length: 40 }, (_, i) => curve(`label ${i}`))
  const svg = rocSvg({ title: '', curves })
  assert.match(svg, /and 20 more/)
  assert.equal(svg.match(/<path /g)?.length, 40)
})

test('hostile words stay words', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (words) => {
      const evil = `${words}</text><script href="x" & '\u0000\ud800`
      const [roc, loss] = [
        rocSvg({ title: evil, subtitle: evil, curves: [curve(evil)] }),
        lossSvg({ title: evil, rows: [] }),
      ]
      for (const svg of [roc, loss]) {
        assert.equal(svg.includes('<script'), false)
        // Only the plot's own elements, and no character that XML forbids.
        const elements = new Set([...svg.matchAll(/<(\w+)/g)].map(([, name]) => name))
        for (const name of elements) {
          assert.ok(['svg', 'rect', 'text', 'line', 'path', 'circle'].includes(name ?? ''), name)
        }
        assert.equal(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(svg), false)
        assert.equal(/[\ud800-\udfff]/u.test(svg), false)
      }
    }),
    { numRuns: 200, seed: 7 },
  )
})

test('a loss plot draws both losses, marks the best epoch, and AUROC apart', () => {
  const rows = [1, 2, 3, 2, 3, 4].map((epoch, i) => ({
    epoch,
    best: epoch === 3,
    metrics: {
      'train/loss': 1 / (i + 1),
      'val/loss': 1.2 / epoch,
      'val/auroc_macro': 0.5 + 0.1 * epoch,
    },
  }))
  const svg = lossSvg({ title: 'loss', rows })
  assert.equal(svg.match(/<path /g)?.length, 3)
  assert.match(svg, /best: epoch 3/)
  assert.match(svg, /validation/)
  assert.match(svg, />AUROC</)
  // Epochs 2 and 3 came again after a resume: four points a curve.
  const [first = ''] = /d="[^"]*"/.exec(svg) ?? []
  assert.equal(first.match(/[ML]/g)?.length, 4)
})

test('plots of nothing, of one epoch and of figures that are no numbers are still plots', async () => {
  const plots = [
    lossSvg({ title: 'none', rows: [] }),
    lossSvg({ title: 'one', rows: [{ epoch: 1, metrics: { 'train/loss': 0.7 } }] }),
    lossSvg({ title: 'NaN', rows: [{ epoch: 1, metrics: { 'train/loss': Number.NaN } }] }),
    lossSvg({
      title: 'zero',
      rows: [1, 2].map((epoch) => ({ epoch, metrics: { 'train/loss': 0 } })),
    }),
    rocSvg({ title: 'none', curves: [] }),
  ]
  for (const svg of plots) {
    assert.equal(/NaN|Infinity|undefined/.test(svg.replace('>NaN<', '')), false, svg)
    assert.ok((await svgToPng(svg, 200)).length > 1000)
  }
})

test('the PNG has letters on a machine without fonts, and the width asked for', async () => {
  const png = await svgToPng(rocSvg({ title: 'effusion', curves: [curve('sick')] }), 850)
  const view = new DataView(png.buffer, png.byteOffset)
  assert.deepEqual([...png.subarray(0, 4)], [0x89, 0x50, 0x4e, 0x47])
  assert.equal(view.getUint32(16), 850)
  const mute = await svgToPng(rocSvg({ title: '', curves: [curve('')] }), 850)
  assert.ok(png.length > mute.length + 1000, 'words take ink')
  await assert.rejects(svgToPng('<svg/>', 0), RangeError)
})
