import { plural } from '../base/index.ts'
import {
  axes,
  document,
  fix,
  head,
  known,
  line,
  type Panel,
  path,
  QUIET,
  swatch,
  text,
  ticks,
  toX,
  toY,
  colourOf,
} from './plot-parts.ts'

/** A ROC curve of one label on one split. */
export interface RocLine {
  readonly label: string
  /** null: not defined, a class is absent. */
  readonly auroc: number | null
  /** 95 %, patients resampled. */
  readonly interval: readonly [low: number, high: number] | null
  /** [false positive rate, true positive rate], from (0, 0) to (1, 1). */
  readonly points: readonly (readonly [fpr: number, tpr: number])[]
}

export interface RocPlot {
  readonly title: string
  readonly subtitle?: string
  readonly curves: readonly RocLine[]
  /** What the curves were measured on. */
  readonly data?: { readonly split: string; readonly images: number; readonly patients: number }
}

/** One epoch; rows of one epoch may come again after a resume: the last counts. */
export interface LossRow {
  readonly epoch: number
  /** `train/loss`, `val/loss`, `val/auroc_macro`. */
  readonly metrics: Readonly<Record<string, number>>
  readonly best?: boolean
}

export interface LossPlot {
  readonly title: string
  readonly subtitle?: string
  readonly rows: readonly LossRow[]
}

const MAX_LEGEND = 20
const MAX_LABEL = 26
/** The diagonal of a model that guesses. */
const CHANCE = '#8A8A8A'

/**
 * ROC curves as SVG: one line a label, AUROC with its interval in the legend, the diagonal of chance.
 * Pure: the same input gives the same text. All words are escaped.
 */
export function rocSvg({ title, subtitle, curves, data }: RocPlot): string {
  const panel: Panel = { left: 72, top: 72, width: 460, height: 460, x: [0, 1], y: [0, 1] }
  const round = [0, 0.2, 0.4, 0.6, 0.8, 1]
  const shown = curves.map((curve) => curve.points.filter(known))
  const legendAt = panel.left + panel.width + 28
  return document(850, 606, [
    ...head(panel.left, title, subtitle),
    ...axes(panel, {
      xTicks: round,
      yTicks: round,
      xLabel: 'False positive rate (1 − specificity)',
      yLabel: 'True positive rate (sensitivity)',
    }),
    line(
      toX(panel, 0),
      toY(panel, 0),
      toX(panel, 1),
      toY(panel, 1),
      CHANCE,
      ' stroke-dasharray="4 4" stroke-width="1.4"',
    ),
    // The first label is drawn last, so that it lies on top.
    ...shown
      .map((points, i) => (points.length < 2 ? '' : path(panel, points, i)))
      .filter((part) => part !== '')
      .reverse(),
    ...rocLegend(curves, legendAt, panel.top + 12),
    ...(data === undefined
      ? []
      : [
          text(
            panel.left + panel.width,
            panel.top + panel.height + 64,
            `${plural(data.images, `${data.split} image`)} of ${plural(data.patients, 'patient')}`,
            { size: 12, colour: QUIET, anchor: 'end' },
          ),
        ]),
  ])
}

function rocLegend(curves: readonly RocLine[], left: number, top: number): string[] {
  const shown = curves.slice(0, MAX_LEGEND)
  // Two rows each while there is room: the label, then its figures.
  const roomy = shown.length <= 10
  const step = roomy ? 42 : 22
  const parts = [text(left, top, 'AUROC (95 % interval)', { size: 12, colour: QUIET })]
  for (const [i, { label, auroc, interval }] of shown.entries()) {
    const y = top + 26 + i * step
    const figure = auroc === null ? 'not defined' : auroc.toFixed(3)
    const range = interval === null ? '' : ` (${interval[0].toFixed(3)}–${interval[1].toFixed(3)})`
    parts.push(swatch(left, y - 4, i))
    if (roomy) {
      parts.push(text(left + 36, y, label, { longest: MAX_LABEL }))
      parts.push(text(left + 36, y + 17, `${figure}${range}`, { size: 12, colour: QUIET }))
    } else {
      const small = { size: 12, longest: 18 }
      parts.push(text(left + 36, y, label, small))
      parts.push(text(left + 172, y, auroc === null ? '–' : auroc.toFixed(2), small))
      if (interval !== null) {
        const bounds = `${interval[0].toFixed(2)}–${interval[1].toFixed(2)}`
        parts.push(text(left + 208, y, bounds, { size: 11, colour: QUIET }))
      }
    }
  }
  const end = top + 26 + shown.length * step
  if (curves.length > shown.length) {
    parts.push(
      text(left + 36, end, `and ${curves.length - shown.length} more`, { size: 12, colour: QUIET }),
    )
  }
  const chance = end + (curves.length > shown.length ? 22 : 0)
  parts.push(
    line(
      left,
      chance - 4,
      left + 28,
      chance - 4,
      CHANCE,
      ' stroke-dasharray="4 4" stroke-width="1.4"',
    ),
  )
  parts.push(text(left + 36, chance, 'chance, 0.5', { size: 12, colour: QUIET }))
  return parts
}

const SERIES = [
  { key: 'train/loss', name: 'train' },
  { key: 'val/loss', name: 'validation' },
] as const
const AUROC_KEY = 'val/auroc_macro'

/** Loss by epoch, train and validation, the best epoch marked; validation AUROC below, where there is one. */
export function lossSvg({ title, subtitle, rows }: LossPlot): string {
  const byEpoch = [...new Map(rows.map((row) => [row.epoch, row])).values()].sort(
    (a, b) => a.epoch - b.epoch,
  )
  const of = (key: string): (readonly [number, number])[] =>
    byEpoch.map((row) => [row.epoch, row.metrics[key] ?? Number.NaN] as const).filter(known)
  const losses = SERIES.map(({ key }) => of(key))
  const auroc = of(AUROC_KEY)
  const best = byEpoch.filter((row) => row.best === true).at(-1)?.epoch
  const last = Math.max(2, byEpoch.at(-1)?.epoch ?? 2)
  const values = losses.flat().map(([, v]) => v)
  const [low, high] =
    values.length > 0 ? [Math.min(0, ...values), Math.max(...values) * 1.05 || 1] : [0, 1]
  const upper: Panel = { left: 72, top: 72, width: 560, height: 260, x: [1, last], y: [low, high] }
  const xTicks = ticks(1, last, 8, 1)
  const parts = [
    ...head(upper.left, title, subtitle),
    ...axes(upper, {
      xTicks,
      yTicks: ticks(low, high, 5),
      xLabel: auroc.length > 0 ? '' : 'Epoch',
      yLabel: 'Loss',
    }),
    ...curvesOf(upper, losses, 0),
    ...legendOf(
      upper,
      SERIES.map(({ name }) => name),
      0,
    ),
  ]
  if (best !== undefined) parts.push(...bestMark(upper, best))
  if (auroc.length === 0) return document(800, 392, parts)
  const floor = Math.min(0.5, ...auroc.map(([, v]) => v))
  const lower: Panel = { ...upper, top: 376, height: 170, y: [Math.floor(floor * 10) / 10, 1] }
  parts.push(
    ...axes(lower, { xTicks, yTicks: ticks(lower.y[0], 1, 5), xLabel: 'Epoch', yLabel: 'AUROC' }),
    ...curvesOf(lower, [auroc], 2),
    ...legendOf(lower, ['validation'], 2),
  )
  if (best !== undefined) parts.push(bestLine(lower, best))
  return document(800, 606, parts)
}

function curvesOf(
  panel: Panel,
  curves: readonly (readonly (readonly [number, number])[])[],
  first: number,
): string[] {
  return curves.flatMap((points, i) => {
    const [only] = points
    if (only === undefined) return []
    if (points.length > 1) return [path(panel, points, first + i)]
    const dot = `<circle cx="${fix(toX(panel, only[0]))}" cy="${fix(toY(panel, only[1]))}" r="3.5" fill="${colourOf(first + i)}"/>`
    return [dot]
  })
}

function legendOf(panel: Panel, names: readonly string[], first: number): string[] {
  const left = panel.left + panel.width + 20
  return names.flatMap((name, i) => [
    swatch(left, panel.top + 8 + 24 * i, first + i),
    text(left + 36, panel.top + 12 + 24 * i, name),
  ])
}

function bestLine(panel: Panel, epoch: number): string {
  const x = toX(panel, epoch)
  return line(x, panel.top, x, panel.top + panel.height, QUIET, ' stroke-dasharray="2 4"')
}

function bestMark(panel: Panel, epoch: number): string[] {
  const x = toX(panel, epoch)
  const late = x > panel.left + panel.width * 0.8
  return [
    bestLine(panel, epoch),
    text(late ? x - 6 : x + 6, panel.top + 14, `best: epoch ${epoch}`, {
      size: 12,
      colour: QUIET,
      anchor: late ? 'end' : 'start',
    }),
  ]
}
