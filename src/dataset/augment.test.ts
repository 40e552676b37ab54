import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRandom } from '../base/index.ts'
import type { AugmentConfig, AugmentOp } from '../format/types.ts'
import {
  applyGeometry,
  applyIntensity,
  type AugmentFunction,
  classFunctions,
  drawFunction,
} from './augment.ts'

const NOTHING: AugmentFunction = {
  angle: 0,
  shiftY: 0,
  shiftX: 0,
  zoom: 1,
  brightness: 0,
  contrast: 1,
}
const SIDE = 5
const SHAPE = [SIDE, SIDE, 1] as const
/** No two pixels are equal, none is at an end of the range: 0.2 to 0.8. */
const KNOWN = Float32Array.from({ length: SIDE * SIDE }, (_, i) => 0.2 + (0.6 * i) / 24)

const apply = (f: Partial<AugmentFunction>, image = KNOWN): Float32Array =>
  applyIntensity(applyGeometry(image, SHAPE, { ...NOTHING, ...f }), { ...NOTHING, ...f })
const meanOf = (x: Float32Array): number => x.reduce((a, b) => a + b, 0) / x.length

/** Each pixel must be the known image's at the place that `from` names. */
function assertMoved(
  actual: Float32Array,
  from: (y: number, x: number) => readonly [number, number],
): void {
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const [sy, sx] = from(y, x).map((v) => Math.min(Math.max(v, 0), SIDE - 1)) as [number, number]
      const [got, wanted] = [actual[y * SIDE + x]!, KNOWN[sy * SIDE + sx]!]
      assert.ok(Math.abs(got - wanted) < 1e-5, `(${y}, ${x}): ${got}, not (${sy}, ${sx}) ${wanted}`)
    }
  }
}

test('shift by whole pixels moves down and right, and continues the edge', () => {
  assertMoved(apply({ shiftY: 2 / SIDE }), (y, x) => [y - 2, x])
  assertMoved(apply({ shiftX: 1 / SIDE }), (y, x) => [y, x - 1])
  assertMoved(apply({ shiftY: -1 / SIDE, shiftX: -2 / SIDE }), (y, x) => [y + 1, x + 2])
})

test('half a pixel is the mean of two', () => {
  const half = apply({ shiftX: 0.5 / SIDE })
  assert.ok(Math.abs(half[1]! - (KNOWN[0]! + KNOWN[1]!) / 2) < 1e-6)
})

test('rotation is counter-clockwise about the centre; four quarters are none', () => {
  const quarter = Math.PI / 2
  assertMoved(apply({ angle: quarter }), (y, x) => [x, SIDE - 1 - y])
  assertMoved(apply({ angle: -quarter }), (y, x) => [SIDE - 1 - x, y])
  assertMoved(apply({ angle: 2 * quarter }), (y, x) => [SIDE - 1 - y, SIDE - 1 - x])
  let turned = KNOWN
  for (let k = 0; k < 4; k++) turned = apply({ angle: quarter }, turned) as typeof KNOWN
  assertMoved(turned, (y, x) => [y, x])
})

test('zoom enlarges about the centre', () => {
  const twice = apply({ zoom: 2 })
  for (const [y, x] of [
    [0, 0],
    [2, 4],
    [4, 2],
    [2, 2],
  ] as const) {
    const from = (1 + y / 2) * SIDE + (1 + x / 2)
    assert.ok(Math.abs(twice[y * SIDE + x]! - KNOWN[from]!) < 1e-6, `(${y}, ${x})`)
  }
  assertMoved(apply({ zoom: 0.5 }), (y, x) => [2 + 2 * (y - 2), 2 + 2 * (x - 2)])
})

test('brightness is added and cut to the range', () => {
  const brighter = apply({ brightness: 0.1 })
  for (const [i, v] of brighter.entries()) assert.ok(Math.abs(v - KNOWN[i]! - 0.1) < 1e-6)
  const cut = apply({ brightness: 0.5 })
  assert.equal(Math.max(...cut), 1)
  assert.equal(Math.min(...apply({ brightness: -0.5 })), 0)
})

test('contrast scales about the mean and leaves it', () => {
  const mean = meanOf(KNOWN)
  const more = apply({ contrast: 1.3 })
  for (const [i, v] of more.entries()) {
    assert.ok(Math.abs(v - mean - 1.3 * (KNOWN[i]! - mean)) < 1e-6)
  }
  assert.ok(Math.abs(meanOf(more) - mean) < 1e-6)
})

test('channels move together; nothing to do gives an equal copy', () => {
  const colours = Float32Array.from({ length: SIDE * SIDE * 3 }, (_, i) => (i % 3) / 4 + 0.1)
  const out = applyGeometry(colours, [SIDE, SIDE, 3], { ...NOTHING, angle: 0.3, shiftX: 0.2 })
  for (const [i, v] of out.entries()) assert.ok(Math.abs(v - ((i % 3) / 4 + 0.1)) < 1e-6)
  const same = apply({})
  assert.deepEqual(same, KNOWN)
  assert.notEqual(same, KNOWN)
})

const OPS: readonly AugmentOp[] = [
  { op: 'rotate', degrees: [-10, 20], p: 0.5 },
  { op: 'shift', fraction: 0.05, p: 0.5 },
  { op: 'zoom', range: [0.9, 1.2], p: 0.5 },
  { op: 'brightness', range: 0.2, p: 0.5 },
  { op: 'contrast', range: 0.3, p: 0.5 },
]
const BOUNDS: Readonly<Record<keyof AugmentFunction, readonly [number, number]>> = {
  angle: [(-10 * Math.PI) / 180, (20 * Math.PI) / 180],
  shiftY: [-0.05, 0.05],
  shiftX: [-0.05, 0.05],
  zoom: [0.9, 1.2],
  brightness: [-0.2, 0.2],
  contrast: [0.7, 1.3],
}

test('draws stay within their bounds, reach near both, and happen with p', () => {
  const drawn = Array.from({ length: 2000 }, (_, k) => drawFunction(OPS, createRandom(k)))
  for (const [name, [low, high]] of Object.entries(BOUNDS)) {
    const key = name as keyof AugmentFunction
    const happened = drawn.map((f) => f[key]).filter((v) => v !== NOTHING[key])
    assert.ok(Math.abs(happened.length / drawn.length - 0.5) < 0.05, `${name} ${happened.length}`)
    const span = high - low
    const [least, most] = [Math.min(...happened), Math.max(...happened)]
    assert.ok(least >= low && least < low + span / 50, `${name} from ${least}`)
    assert.ok(most <= high && most > high - span / 50, `${name} to ${most}`)
  }
  const [never, always] = [0, 1].map((p) => OPS.map((op) => ({ ...op, p })))
  assert.deepEqual(drawFunction(never!, createRandom(1)), NOTHING)
  const all = drawFunction(always!, createRandom(1))
  for (const key of Object.keys(BOUNDS) as (keyof AugmentFunction)[])
    assert.notEqual(all[key], NOTHING[key], key)
})

test('an operation that does not happen leaves the draws of the others as they are', () => {
  const without = OPS.map((op) => (op.op === 'rotate' ? { ...op, p: 0 } : { ...op, p: 1 }))
  const [all, less] = [OPS.map((op) => ({ ...op, p: 1 })), without].map((ops) =>
    drawFunction(ops, createRandom(3)),
  )
  assert.deepEqual({ ...all, angle: 0 }, less)
})

test('a class has as many functions as the configuration says, of its own, each doing something', () => {
  const config: AugmentConfig = {
    applyTo: 'minority',
    minorityBelow: 0.5,
    functionsPerClass: 10,
    ops: OPS.map((op) => ({ ...op, p: 0.05 })),
  }
  const functions = classFunctions(config, 7, 'Hernia')
  assert.equal(functions.length, 10)
  for (const f of functions) assert.notDeepEqual(f, NOTHING)
  assert.equal(new Set(functions.map((f) => JSON.stringify(f))).size, 10)
  assert.deepEqual(classFunctions(config, 7, 'Hernia'), functions)
  assert.notDeepEqual(classFunctions(config, 8, 'Hernia'), functions)
  assert.notDeepEqual(classFunctions(config, 7, 'Mass'), functions)
  const never = { ...config, functionsPerClass: 3, ops: OPS.map((op) => ({ ...op, p: 0 })) }
  for (const f of classFunctions(never, 7, 'Hernia')) assert.notEqual(f.angle, 0)
})
