import type { Tensor, Tensor4D, Tf } from './types.ts'
import { registerSlices } from './wasm-slices.ts'

/*
 * Gradient kernels that tfjs-backend-wasm 4.22 lacks, or has as plain loops, composed from its XNNPACK
 * kernels. Each is checked against the cpu backend (test/suites/engine.suite.ts); the figures are in
 * docs/decisions/0012-engines-and-the-pure-step.md.
 */

type Pad = 'valid' | 'same' | number
type Shape4D = readonly [number, number, number, number]

interface ConvAttrs {
  readonly strides: number | readonly [number, number]
  readonly pad: Pad
  readonly dataFormat?: string
  readonly dimRoundingMode?: 'floor' | 'round' | 'ceil'
}
interface Kernel {
  readonly inputs: Readonly<Record<string, Tensor>>
  readonly attrs: Readonly<Record<string, unknown>>
}

/** Where a convolution looked: its stride and the padding before the first row and column. */
interface ConvPlace {
  readonly strideH: number
  readonly strideW: number
  readonly top: number
  readonly left: number
  readonly bottom: number
  readonly right: number
  readonly outH: number
  readonly outW: number
}

function placeOf(tf: Tf, input: Shape4D, filter: Shape4D, attrs: ConvAttrs, depthwise: boolean) {
  if (attrs.dataFormat !== undefined && attrs.dataFormat !== 'NHWC') {
    throw new Error(`wasm gradients take NHWC, not ${attrs.dataFormat}`)
  }
  const info = tf.backend_util.computeConv2DInfo(
    [...input],
    [...filter],
    attrs.strides as number | [number, number],
    1,
    attrs.pad,
    attrs.dimRoundingMode,
    depthwise,
    'channelsLast',
  )
  const place: ConvPlace = {
    strideH: info.strideHeight,
    strideW: info.strideWidth,
    top: info.padInfo.top,
    left: info.padInfo.left,
    bottom: info.padInfo.bottom,
    right: info.padInfo.right,
    outH: info.outHeight,
    outW: info.outWidth,
  }
  return place
}

const reshape4 = (tf: Tf, x: Tensor, shape: Shape4D): Tensor4D =>
  tf.reshape(x, [...shape]) as Tensor4D

const padSpace = (tf: Tf, x: Tensor4D, place: ConvPlace): Tensor4D =>
  tf.pad4d(x, [
    [0, 0],
    [place.top, place.bottom],
    [place.left, place.right],
    [0, 0],
  ])

/**
 * dW as a convolution: padded x as [Cin, H, W, N], dy as a filter [outH, outW, N, Cout], dilated by the
 * forward stride. Rows and columns that the stride did not reach come out as surplus and are sliced off.
 */
function conv2DFilterGradient(
  tf: Tf,
  x: Tensor4D,
  dy: Tensor4D,
  filter: Shape4D,
  attrs: ConvAttrs,
) {
  const place = placeOf(tf, x.shape, filter, attrs, false)
  const [kh, kw, inC, outC] = filter
  const xs = tf.transpose(padSpace(tf, x, place), [3, 1, 2, 0])
  const dys = tf.transpose(dy, [1, 2, 0, 3])
  const g = tf.conv2d(xs, dys, 1, 'valid', 'NHWC', [place.strideH, place.strideW])
  const exact = g.shape[1] === kh && g.shape[2] === kw
  const cut = exact ? g : tf.slice4d(g, [0, 0, 0, 0], [inC, kh, kw, outC])
  return tf.transpose(cut, [1, 2, 0, 3])
}

/** Sub-filter of one phase of a strided convolution's input gradient: taps `from`, `from + step`, ... reversed. */
function tapsOf(kernel: number, stride: number, before: number, phase: number) {
  // Input position i = stride * q + phase gets tap k of output o where stride * o + k = i + before.
  const first = (phase + before) % stride
  const count = first < kernel ? Math.ceil((kernel - first) / stride) : 0
  // Output o = q + offset - j for the j-th tap.
  const offset = Math.floor((phase + before) / stride)
  return { first, step: stride, count, offset }
}

/** dy rows and columns from..from+length, with zeros where it has none. */
function window(tf: Tf, dy: Tensor4D, h: readonly [number, number], w: readonly [number, number]) {
  const [n, outH, outW, c] = dy.shape
  const h0 = Math.max(0, h[0])
  const w0 = Math.max(0, w[0])
  const h1 = Math.min(outH, h[0] + h[1])
  const w1 = Math.min(outW, w[0] + w[1])
  const whole = h0 === 0 && w0 === 0 && h1 === outH && w1 === outW
  const cut = whole ? dy : tf.slice4d(dy, [0, h0, w0, 0], [n, h1 - h0, w1 - w0, c])
  return tf.pad4d(cut, [
    [0, 0],
    [h0 - h[0], h[0] + h[1] - h1],
    [w0 - w[0], w[0] + w[1] - w1],
    [0, 0],
  ])
}

/**
 * dx without multiplying inserted zeros: the input positions of one phase (row mod stride, column mod
 * stride) are a stride-1 convolution of dy with every stride-th tap of the reversed filter. The phases
 * are interleaved by concatenation on the channel axis, which is a plain copy in NHWC.
 */
function conv2DInputGradient(
  tf: Tf,
  dy: Tensor4D,
  filter: Tensor4D,
  input: Shape4D,
  attrs: ConvAttrs,
) {
  const place = placeOf(tf, input, filter.shape, attrs, false)
  const [n, H, W, inC] = input
  const { strideH: sh, strideW: sw } = place
  const rows = Math.ceil(H / sh)
  const cols = Math.ceil(W / sw)
  // [kh, kw, Cin, Cout] -> [kh, kw, Cout, Cin]
  const turned = tf.transpose(filter, [0, 1, 3, 2])
  const phases: Tensor4D[] = []
  for (let a = 0; a < sh; a++) {
    const columns: Tensor4D[] = []
    for (let b = 0; b < sw; b++)
      columns.push(phaseGradient(tf, dy, turned, place, [a, b], [rows, cols]))
    const wide = columns.length === 1 ? columns[0]! : tf.concat4d(columns, 3)
    phases.push(reshape4(tf, wide, [n, rows, 1, cols * sw * inC]))
  }
  const tall = phases.length === 1 ? phases[0]! : tf.concat4d(phases, 2)
  const full = reshape4(tf, tall, [n, rows * sh, cols * sw, inC])
  if (rows * sh === H && cols * sw === W) return full
  return tf.slice4d(full, [0, 0, 0, 0], [n, H, W, inC])
}

function phaseGradient(
  tf: Tf,
  dy: Tensor4D,
  turned: Tensor4D,
  place: ConvPlace,
  [a, b]: readonly [number, number],
  [rows, cols]: readonly [number, number],
): Tensor4D {
  const [kh, kw, , inC] = turned.shape
  const v = tapsOf(kh, place.strideH, place.top, a)
  const u = tapsOf(kw, place.strideW, place.left, b)
  if (v.count === 0 || u.count === 0) return tf.zeros([dy.shape[0], rows, cols, inC])
  const reversed = reversedTaps(tf, turned, v, u)
  // The reversed filter's first tap meets output offset - (count - 1).
  const dys = window(
    tf,
    dy,
    [v.offset - v.count + 1, rows + v.count - 1],
    [u.offset - u.count + 1, cols + u.count - 1],
  )
  return tf.conv2d(dys, reversed, 1, 'valid')
}

/** Every stride-th tap of the filter, last first, as copies of whole taps. */
function reversedTaps(
  tf: Tf,
  turned: Tensor4D,
  v: ReturnType<typeof tapsOf>,
  u: ReturnType<typeof tapsOf>,
): Tensor4D {
  const [, , outC, inC] = turned.shape
  const taps: Tensor4D[] = []
  for (let i = v.count - 1; i >= 0; i--) {
    for (let j = u.count - 1; j >= 0; j--) {
      const at = [v.first + i * v.step, u.first + j * u.step, 0, 0] as const
      taps.push(tf.slice4d(turned, [...at], [1, 1, outC, inC]))
    }
  }
  return reshape4(tf, tf.concat4d(taps, 0), [v.count, u.count, outC, inC])
}

/** Repeats channels so that x [.., C] lies beside dy [.., C * multiplier]. */
function repeatChannels(tf: Tf, x: Tensor4D, multiplier: number): Tensor4D {
  if (multiplier === 1) return x
  const [n, h, w, c] = x.shape
  const columns = tf.reshape(x, [n * h * w, c, 1])
  return reshape4(tf, tf.tile(columns, [1, 1, multiplier]), [n, h, w, c * multiplier])
}

/** One tap at a time: the products of dy and the part of x that the tap saw, summed over batch and space. */
function depthwiseFilterGradient(
  tf: Tf,
  x: Tensor4D,
  dy: Tensor4D,
  filter: Shape4D,
  attrs: ConvAttrs,
) {
  const place = placeOf(tf, x.shape, filter, attrs, true)
  const [kh, kw, c, multiplier] = filter
  const xs = repeatChannels(tf, padSpace(tf, x, place), multiplier)
  const [n, , , channels] = xs.shape
  const taps: Tensor[] = []
  for (let i = 0; i < kh; i++) {
    for (let j = 0; j < kw; j++) {
      const seen = tf.stridedSlice(
        xs,
        [0, i, j, 0],
        [
          n,
          i + place.strideH * (place.outH - 1) + 1,
          j + place.strideW * (place.outW - 1) + 1,
          channels,
        ],
        [1, place.strideH, place.strideW, 1],
      )
      taps.push(tf.sum(tf.mul(seen, dy), [0, 1, 2]))
    }
  }
  return reshape4(tf, tf.stack(taps), [kh, kw, c, multiplier])
}

/** dy with stride - 1 zeros after each row and column, then a stride-1 depthwise pass of the reversed filter. */
function depthwiseInputGradient(
  tf: Tf,
  dy: Tensor4D,
  filter: Tensor4D,
  input: Shape4D,
  attrs: ConvAttrs,
) {
  const place = placeOf(tf, input, filter.shape, attrs, true)
  const [n, H, W, c] = input
  const [kh, kw, , multiplier] = filter.shape
  const [, outH, outW, channels] = dy.shape
  const { strideH: sh, strideW: sw } = place
  const spread = tf.pad(tf.reshape(dy, [n * outH, 1, outW, 1, channels]), [
    [0, 0],
    [0, sh - 1],
    [0, 0],
    [0, sw - 1],
    [0, 0],
  ])
  const rows = reshape4(tf, spread, [n, outH * sh, outW * sw, channels])
  const top = kh - 1 - place.top
  const left = kw - 1 - place.left
  const shifted = window(tf, rows, [-top, H + kh - 1], [-left, W + kw - 1])
  const reversed = tf.reverse4d(filter, [0, 1])
  const each = reshape4(tf, reversed, [kh, kw, c * multiplier, 1])
  const dx = tf.depthwiseConv2d(shifted, each, 1, 'valid')
  if (multiplier === 1) return dx
  return reshape4(tf, tf.sum(tf.reshape(dx, [n * H * W, c, multiplier]), -1), [n, H, W, c])
}

/** Rows of x added into the segment each id names; ids outside [0, numSegments) are dropped, as on cpu. */
function unsortedSegmentSum(tf: Tf, x: Tensor, segmentIds: Tensor, numSegments: number): Tensor {
  const rows = segmentIds.size
  const inner = x.shape.slice(segmentIds.rank)
  const flat = tf.reshape(x, [rows, rows === 0 ? 0 : x.size / rows])
  const member = tf.oneHot(tf.reshape(segmentIds, [rows]), numSegments, 1, 0)
  const turned = tf.transpose(tf.cast(member, 'float32'))
  return tf.reshape(tf.matMul(turned, tf.cast(flat, 'float32')), [numSegments, ...inner])
}

const conv = (attrs: Kernel['attrs']): ConvAttrs => attrs as unknown as ConvAttrs
const shapeIn = (attrs: Kernel['attrs'], name: string): Shape4D => attrs[name] as Shape4D

/** Registers the kernels once for each copy of tfjs-core. */
export function registerWasmKernels(tf: Tf): void {
  if (tf.getKernel('Conv2DBackpropFilter', 'wasm')) return
  registerSlices(tf)
  const register = (kernelName: string, compute: (kernel: Kernel) => Tensor): void => {
    if (tf.getKernel(kernelName, 'wasm')) tf.unregisterKernel(kernelName, 'wasm')
    tf.registerKernel({
      kernelName,
      backendName: 'wasm',
      kernelFunc: ({ inputs, attrs }) =>
        tf.tidy(() => compute({ inputs: inputs as Kernel['inputs'], attrs: attrs ?? {} })),
    })
  }
  register('Conv2DBackpropFilter', ({ inputs, attrs }) =>
    conv2DFilterGradient(
      tf,
      inputs['x'] as Tensor4D,
      inputs['dy'] as Tensor4D,
      shapeIn(attrs, 'filterShape'),
      conv(attrs),
    ),
  )
  register('Conv2DBackpropInput', ({ inputs, attrs }) =>
    conv2DInputGradient(
      tf,
      inputs['dy'] as Tensor4D,
      inputs['filter'] as Tensor4D,
      shapeIn(attrs, 'inputShape'),
      conv(attrs),
    ),
  )
  register('DepthwiseConv2dNativeBackpropFilter', ({ inputs, attrs }) =>
    depthwiseFilterGradient(
      tf,
      inputs['x'] as Tensor4D,
      inputs['dy'] as Tensor4D,
      shapeIn(attrs, 'filterShape'),
      conv(attrs),
    ),
  )
  register('DepthwiseConv2dNativeBackpropInput', ({ inputs, attrs }) =>
    depthwiseInputGradient(
      tf,
      inputs['dy'] as Tensor4D,
      inputs['filter'] as Tensor4D,
      shapeIn(attrs, 'inputShape'),
      conv(attrs),
    ),
  )
  register('UnsortedSegmentSum', ({ inputs, attrs }) =>
    unsortedSegmentSum(
      tf,
      inputs['x'] as Tensor,
      inputs['segmentIds'] as Tensor,
      attrs['numSegments'] as number,
    ),
  )
}
