import type { Normalised, Ops, Tensor, Tensor1D, Tensor4D, Tf } from './types.ts'

/** The passes over [B, H, W, C] that batch normalisation needs; an engine gives its fastest. */
export interface ChannelPasses {
  /** Sums over batch and space. @param x [B, H, W, C] @returns [C] */
  sum(x: Tensor4D): Tensor1D
  /** x * scale + shift for each channel, then ReLU if asked. @param scale [C] @param shift [C] */
  affine(x: Tensor4D, scale: Tensor1D, shift: Tensor1D, relu: boolean): Tensor4D
}

export const plainPasses = (tf: Tf): ChannelPasses => ({
  sum: (x) => tf.sum(x, [0, 1, 2]),
  affine(x, scale, shift, relu) {
    const y = tf.add<Tensor4D>(tf.mul(x, scale), shift)
    return relu ? tf.relu(y) : y
  },
})

/** Ops of an engine that has no batch norm kernel with a gradient. */
export const composedOps = (tf: Tf, passes: ChannelPasses): Ops => ({
  tf,
  normalise: composedNormalise(tf, passes),
  relu: (x) => tf.relu(x),
})

/**
 * Batch normalisation with a gradient of its own: tfjs-core composes the gradient from broadcasts, whose
 * Tile alone was a fifth of a wasm step (docs/decisions/0012-engines-and-the-pure-step.md).
 */
function composedNormalise(tf: Tf, passes: ChannelPasses): Ops['normalise'] {
  return (x, gamma, beta, { epsilon, relu }): Normalised => {
    const n = x.size / gamma.size
    const moments: Tensor1D[] = []
    const apply = tf.customGrad((...args) => {
      const [xs, g, b, save] = args as [Tensor4D, Tensor1D, Tensor1D, (t: Tensor[]) => void]
      const mean = tf.div<Tensor1D>(passes.sum(xs), n)
      const ones = tf.onesLike(mean)
      const centred = passes.affine(xs, ones, tf.neg(mean), false)
      const squares = passes.sum(tf.square(centred))
      const r = tf.rsqrt(tf.add<Tensor1D>(tf.div(squares, n), epsilon))
      const scale = tf.mul<Tensor1D>(g, r)
      const y = passes.affine(centred, scale, b, relu)
      moments.push(tf.keep(mean), tf.keep(tf.div<Tensor1D>(squares, Math.max(1, n - 1))))
      save(relu ? [centred, r, scale, y] : [centred, r, scale])
      return {
        value: y,
        gradFunc: (dy: Tensor, saved: Tensor[]) =>
          gradient(tf, passes, dy as Tensor4D, saved as [Tensor4D, Tensor1D, Tensor1D, Tensor4D?]),
      }
    })
    const y = apply(x, gamma, beta) as Tensor4D
    const [mean, variance] = moments as [Tensor1D, Tensor1D]
    return { y, mean, variance }
  }
}

/** dx = scale * (dy - sum(dy)/n - xhat * sum(dy * xhat)/n), with xhat = centred * r. */
function gradient(
  tf: Tf,
  passes: ChannelPasses,
  dy: Tensor4D,
  [centred, r, scale, y]: readonly [Tensor4D, Tensor1D, Tensor1D, Tensor4D?],
): Tensor[] {
  const n = centred.size / r.size
  const masked = y === undefined ? dy : tf.mul<Tensor4D>(dy, tf.step(y))
  const dBeta = passes.sum(masked)
  const dGamma = tf.mul<Tensor1D>(passes.sum(tf.mul(masked, centred)), r)
  const slope = tf.div<Tensor1D>(tf.mul(tf.mul(scale, r), dGamma), -n)
  const shift = tf.div<Tensor1D>(tf.mul(scale, dBeta), -n)
  const direct = passes.affine(masked, scale, shift, false)
  const dx = tf.add(direct, passes.affine(centred, slope, tf.zerosLike(slope), false))
  return [dx, dGamma, dBeta]
}
