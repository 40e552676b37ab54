import { createRandom, type Random, seedOf } from '../base/index.ts'
import type { AugmentConfig, AugmentOp } from '../format/types.ts'

/** One augmentation with its parameters drawn: an affine warp, then intensity. */
export interface AugmentFunction {
  /** Radians, counter-clockwise. */
  readonly angle: number
  /** Shares of height and width. */
  readonly shiftY: number
  readonly shiftX: number
  readonly zoom: number
  /** Added, of the range 0 to 1. */
  readonly brightness: number
  /** Factor around the image's mean. */
  readonly contrast: number
}

const IDENTITY: AugmentFunction = {
  angle: 0,
  shiftY: 0,
  shiftX: 0,
  zoom: 1,
  brightness: 0,
  contrast: 1,
}

/** Draws which operations happen and how strongly. Every draw takes the same numbers from the stream. */
export function drawFunction(ops: readonly AugmentOp[], random: Random): AugmentFunction {
  let f = IDENTITY
  for (const op of ops) {
    const happens = random.next() < op.p
    const [a, b] = [random.next(), random.next()]
    if (!happens) continue
    switch (op.op) {
      case 'rotate':
        f = { ...f, angle: ((op.degrees[0] + a * (op.degrees[1] - op.degrees[0])) * Math.PI) / 180 }
        break
      case 'shift':
        f = { ...f, shiftY: (2 * a - 1) * op.fraction, shiftX: (2 * b - 1) * op.fraction }
        break
      case 'zoom':
        f = { ...f, zoom: op.range[0] + a * (op.range[1] - op.range[0]) }
        break
      case 'brightness':
        f = { ...f, brightness: (2 * a - 1) * op.range }
        break
      case 'contrast':
        f = { ...f, contrast: 1 + (2 * a - 1) * op.range }
        break
    }
  }
  return f
}

/**
 * The functions of one minority class: as many as the configuration says, drawn once from the seed, so
 * that the run record can list them. Each does at least one operation.
 * @param label null: the class of no label; no label is empty, so its functions are its own
 */
export function classFunctions(
  config: AugmentConfig,
  seed: number,
  label: string | null,
): readonly AugmentFunction[] {
  return Array.from({ length: config.functionsPerClass }, (_, k) => {
    const random = createRandom(seedOf(seed, 'function', label ?? '', k))
    for (let tries = 0; tries < 100; tries++) {
      const f = drawFunction(config.ops, random)
      if (f !== IDENTITY) return f
    }
    // Every p is (nearly) zero: take each operation once.
    return drawFunction(
      config.ops.map((op) => ({ ...op, p: 1 })),
      random,
    )
  })
}

/**
 * The geometry of a function on [H, W, C] in the range 0 to 1: one bilinear warp about the centre,
 * edges continued outwards.
 * @returns a new array
 */
export function applyGeometry(
  image: Float32Array,
  [height, width, channels]: readonly [number, number, number],
  f: AugmentFunction,
): Float32Array {
  const warped = f.angle !== 0 || f.zoom !== 1 || f.shiftX !== 0 || f.shiftY !== 0
  return warped ? warp(image, height, width, channels, f) : image.slice()
}

/**
 * The intensity of a function: contrast about the mean and brightness, cut to the range 0 to 1.
 * @returns a new array
 */
export function applyIntensity(image: Float32Array, f: AugmentFunction): Float32Array {
  if (f.contrast === 1 && f.brightness === 0) return image.slice()
  const mean = image.reduce((sum, v) => sum + v, 0) / image.length
  return image.map((v) => Math.min(1, Math.max(0, (v - mean) * f.contrast + mean + f.brightness)))
}

function warp(
  image: Float32Array,
  height: number,
  width: number,
  channels: number,
  f: AugmentFunction,
): Float32Array {
  const out = new Float32Array(image.length)
  const cos = Math.cos(f.angle) / f.zoom
  const sin = Math.sin(f.angle) / f.zoom
  const cy = (height - 1) / 2
  const cx = (width - 1) / 2
  const clamp = (v: number, most: number): number => (v < 0 ? 0 : v > most ? most : v)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const dy = y - cy - f.shiftY * height
      const dx = x - cx - f.shiftX * width
      const sy = clamp(cos * dy + sin * dx + cy, height - 1)
      const sx = clamp(cos * dx - sin * dy + cx, width - 1)
      const y0 = Math.floor(sy)
      const x0 = Math.floor(sx)
      const y1 = Math.min(y0 + 1, height - 1)
      const x1 = Math.min(x0 + 1, width - 1)
      const wy = sy - y0
      const wx = sx - x0
      for (let c = 0; c < channels; c++) {
        const a = image[(y0 * width + x0) * channels + c]!
        const b = image[(y0 * width + x1) * channels + c]!
        const d = image[(y1 * width + x0) * channels + c]!
        const e = image[(y1 * width + x1) * channels + c]!
        out[(y * width + x) * channels + c] =
          (a * (1 - wx) + b * wx) * (1 - wy) + (d * (1 - wx) + e * wx) * wy
      }
    }
  }
  return out
}
