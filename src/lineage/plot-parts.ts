import { formatCount, printable } from '../base/index.ts'

/** Okabe and Ito (2008): told apart with every kind of colour blindness. Black stays for axes. */
const COLOURS = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#7F5F00']
/** After the colours are through, the dashes tell lines apart, also in print. */
const DASHES = ['', '7 3', '2 3', '9 3 2 3']
export const INK = '#222222'
export const QUIET = '#5A5A5A'
const GRID = '#E3E3E3'
/** Points a curve is drawn with; more cannot be seen. */
const MAX_POINTS = 1000

export const colourOf = (i: number): string => COLOURS[i % COLOURS.length] ?? INK
const dashOf = (i: number): string => DASHES[Math.floor(i / COLOURS.length) % DASHES.length] ?? ''

/** Text for XML: labels come from tables, so from anywhere. */
function xml(text: string, longest = 110): string {
  const [...letters] = printable(text).replace(/[\t\n\r]/g, ' ')
  const short = letters.length > longest ? [...letters.slice(0, longest - 1), '…'] : letters
  return short
    .join('')
    .replace(/[\ud800-\udfff\ufffe\uffff]/gu, '\ufffd')
    .replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
}

interface TextStyle {
  readonly size?: number
  readonly colour?: string
  readonly anchor?: 'start' | 'middle' | 'end'
  readonly bold?: boolean
  readonly turn?: number
  readonly longest?: number
}

export function text(x: number, y: number, words: string, style: TextStyle = {}): string {
  const { size = 13, colour = INK, anchor = 'start', bold = false, turn } = style
  return `<text x="${x}" y="${y}" font-size="${size}" fill="${colour}" text-anchor="${anchor}"${bold ? ' font-weight="bold"' : ''}${turn === undefined ? '' : ` transform="rotate(${turn} ${x} ${y})"`}>${xml(words, style.longest)}</text>`
}

export const line = (
  x1: number,
  y1: number,
  x2: number,
  y2: number,
  stroke: string,
  more = '',
): string =>
  `<line x1="${fix(x1)}" y1="${fix(y1)}" x2="${fix(x2)}" y2="${fix(y2)}" stroke="${stroke}"${more}/>`

export const fix = (v: number): string => String(Number(v.toFixed(2)))

export function document(width: number, height: number, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="DejaVu Sans, Verdana, sans-serif">`,
    `<rect width="${width}" height="${height}" fill="#FFFFFF"/>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

/** A rectangle of the picture and the values at its edges. */
export interface Panel {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
  readonly x: readonly [number, number]
  readonly y: readonly [number, number]
}

export const toX = (panel: Panel, v: number): number =>
  panel.left + (panel.width * (v - panel.x[0])) / (panel.x[1] - panel.x[0])
export const toY = (panel: Panel, v: number): number =>
  panel.top + panel.height * (1 - (v - panel.y[0]) / (panel.y[1] - panel.y[0]))

interface Axes {
  readonly xTicks: readonly number[]
  readonly yTicks: readonly number[]
  readonly xLabel: string
  readonly yLabel: string
}

export function axes(panel: Panel, { xTicks, yTicks, xLabel, yLabel }: Axes): string[] {
  const bottom = panel.top + panel.height
  const right = panel.left + panel.width
  const centre = panel.top + panel.height / 2
  return [
    ...xTicks.map((v) => line(toX(panel, v), panel.top, toX(panel, v), bottom, GRID)),
    ...yTicks.map((v) => line(panel.left, toY(panel, v), right, toY(panel, v), GRID)),
    ...xTicks.map((v) =>
      text(toX(panel, v), bottom + 18, tick(v, xTicks), {
        size: 12,
        colour: QUIET,
        anchor: 'middle',
      }),
    ),
    ...yTicks.map((v) =>
      text(panel.left - 8, toY(panel, v) + 4, tick(v, yTicks), {
        size: 12,
        colour: QUIET,
        anchor: 'end',
      }),
    ),
    line(panel.left, bottom, right, bottom, INK),
    line(panel.left, panel.top, panel.left, bottom, INK),
    text(panel.left + panel.width / 2, bottom + 40, xLabel, { anchor: 'middle' }),
    text(panel.left - 48, centre, yLabel, { anchor: 'middle', turn: -90 }),
  ]
}

/** As many digits as the step between ticks needs. */
function tick(value: number, all: readonly number[]): string {
  const step = Math.abs((all[1] ?? 1) - (all[0] ?? 0)) || 1
  const digits = Math.max(0, Math.min(6, Math.ceil(-Math.log10(step) - 1e-9)))
  return digits === 0 ? formatCount(Math.round(value)) : value.toFixed(digits)
}

/** About `count` round values from `low` to `high`. */
export function ticks(low: number, high: number, count: number, smallest = 0): number[] {
  const rough = (high - low) / count
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = Math.max(
    smallest,
    ([1, 2, 5, 10].find((m) => m * power >= rough * 0.999) ?? 10) * power,
  )
  const values: number[] = []
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++)
    values.push(n * step)
  return values
}

export function path(
  panel: Panel,
  points: readonly (readonly [number, number])[],
  i: number,
): string {
  const dash = dashOf(i)
  const d = thin(points)
    .map(([x, y], n) => `${n === 0 ? 'M' : 'L'}${fix(toX(panel, x))} ${fix(toY(panel, y))}`)
    .join('')
  return `<path d="${d}" fill="none" stroke="${colourOf(i)}" stroke-width="2.2" stroke-linejoin="round"${dash === '' ? '' : ` stroke-dasharray="${dash}"`}/>`
}

function thin<T>(points: readonly T[]): readonly T[] {
  if (points.length <= MAX_POINTS) return points
  const step = (points.length - 1) / (MAX_POINTS - 1)
  return Array.from({ length: MAX_POINTS }, (_, n) => points[Math.round(n * step)]).filter(
    (point): point is T => point !== undefined,
  )
}

export const known = ([x, y]: readonly [number, number]): boolean =>
  Number.isFinite(x) && Number.isFinite(y)

export const head = (left: number, title: string, subtitle: string | undefined): string[] => [
  text(left, 30, title, { size: 18, bold: true, longest: 62 }),
  ...(subtitle === undefined ? [] : [text(left, 51, subtitle, { colour: QUIET })]),
]

export function swatch(x: number, y: number, i: number): string {
  const dash = dashOf(i)
  return line(
    x,
    y,
    x + 28,
    y,
    colourOf(i),
    ` stroke-width="2.6"${dash === '' ? '' : ` stroke-dasharray="${dash}"`}`,
  )
}
