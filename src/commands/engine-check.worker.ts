// A program of its own: loads the engine at argv[2], trains a small convolution on it and prints one
// JSON line. Its own process, so that a library that crashes does not take cxv along.
import { createRequire } from 'node:module'
import { createRandom } from '../base/index.ts'
import { restoreUtil } from '../train/index.ts'

/** The part of tfjs-node that the check uses. */
interface TensorFlow {
  tensor(values: readonly number[], shape: readonly number[]): Tensor
  variable(tensor: Tensor): Tensor
  conv2d(x: Tensor, filter: Tensor, strides: number, pad: 'same'): Tensor
  relu(x: Tensor): Tensor
  matMul(a: Tensor, b: Tensor): Tensor
  mean(x: Tensor, axes?: readonly number[]): Tensor
  square(x: Tensor): Tensor
  sub(a: Tensor, b: Tensor): Tensor
  train: { sgd(rate: number): { minimize(loss: () => Tensor, value: true): Tensor } }
  backend(): { binding?: { TF_Version?: unknown }; isUsingGpuDevice?: unknown }
}
interface Tensor {
  dataSync(): ArrayLike<number>
  dispose(): void
}

const STEPS = 20

function main(module: string): void {
  const require = createRequire(import.meta.url)
  restoreUtil()
  const tf = require(module) as TensorFlow
  const random = createRandom(1)
  const values = (n: number, scale: number): number[] =>
    Array.from({ length: n }, () => scale * random.normal())
  const x = tf.tensor(values(8 * 16 * 16, 1), [8, 16, 16, 1])
  const y = tf.tensor(
    values(8, 0.1).map((v) => 1 + v),
    [8, 1],
  )
  const filter = tf.variable(tf.tensor(values(36, 0.5), [3, 3, 1, 4]))
  const dense = tf.variable(tf.tensor(values(4, 0.1), [4, 1]))
  const optimizer = tf.train.sgd(0.1)
  const losses: number[] = []
  const before = [...Array.from(filter.dataSync())]
  for (let step = 0; step < STEPS; step++) {
    const loss = optimizer.minimize(() => {
      const h = tf.mean(tf.relu(tf.conv2d(x, filter, 1, 'same')), [1, 2])
      return tf.mean(tf.square(tf.sub(tf.matMul(h, dense), y)))
    }, true)
    losses.push(loss.dataSync()[0] ?? Number.NaN)
    loss.dispose()
  }
  const moved = Array.from(filter.dataSync()).filter((w, i) => w !== before[i]).length
  const { binding, isUsingGpuDevice } = tf.backend()
  process.stdout.write(
    `${JSON.stringify({
      cxvEngineCheck: 1,
      tensorflow: binding?.TF_Version,
      gpu: isUsingGpuDevice === true,
      losses,
      moved,
    })}\n`,
  )
}

const [, , module] = process.argv
if (module === undefined) throw new Error('usage: engine-check MODULE')
main(module)
