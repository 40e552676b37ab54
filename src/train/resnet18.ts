import {
  applyConvUnit,
  applyHead,
  convUnitParameters,
  headParameters,
  type ConvUnit,
  type Model,
  type Scope,
} from './layers.ts'
import type { Tensor4D } from './types.ts'

interface Block {
  readonly first: ConvUnit
  readonly second: ConvUnit
  /** 1x1 projection where the shape changes (option B of the paper). */
  readonly shortcut: ConvUnit | undefined
}

/** Inputs whose longer side is below this many pixels get the small stem. */
const LARGE_STEM_FROM = 128

/**
 * ResNet-18 (He et al. 2015, arXiv 1512.03385, table 1). From 128 px on with the ImageNet stem (7x7,
 * stride 2, then 3x3 max pooling, stride 2); below, with the stem of its section 4.2 for 32 px images
 * (3x3, stride 1, no pooling), so that a 64 px image still ends as 8x8. 11.2 M parameters.
 */
export function resnet18(
  [height, width, channels]: readonly [number, number, number],
  labels: number,
): Model {
  const large = Math.max(height, width) >= LARGE_STEM_FROM
  const stem: ConvUnit = {
    name: 'stem',
    inC: channels,
    outC: 64,
    size: large ? 7 : 3,
    stride: large ? 2 : 1,
    relu: true,
  }
  const blocks = planBlocks()
  const units = blocks.flatMap(({ first, second, shortcut }) =>
    shortcut === undefined ? [first, second] : [first, second, shortcut],
  )
  return {
    parameters: [
      ...convUnitParameters(stem),
      ...units.flatMap(convUnitParameters),
      ...headParameters(512, labels),
    ],
    features: 512,
    apply(scope, x) {
      let h = applyConvUnit(scope, stem, x)
      if (large) h = scope.ops.tf.maxPool(h, 3, 2, 'same')
      for (const block of blocks) h = applyBlock(scope, block, h)
      return applyHead(scope, h)
    },
  }
}

function planBlocks(): readonly Block[] {
  const blocks: Block[] = []
  let inC = 64
  for (const [stage, outC] of [64, 128, 256, 512].entries()) {
    for (let i = 0; i < 2; i++) {
      const name = `stage${stage + 1}/block${i + 1}`
      const stride = stage > 0 && i === 0 ? 2 : 1
      const same = stride === 1 && inC === outC
      blocks.push({
        first: { name: `${name}/conv1`, inC, outC, size: 3, stride, relu: true },
        second: { name: `${name}/conv2`, inC: outC, outC, size: 3, stride: 1, relu: false },
        shortcut: same
          ? undefined
          : { name: `${name}/shortcut`, inC, outC, size: 1, stride, relu: false },
      })
      inC = outC
    }
  }
  return blocks
}

function applyBlock(scope: Scope, { first, second, shortcut }: Block, x: Tensor4D): Tensor4D {
  const { tf, relu } = scope.ops
  const side = shortcut === undefined ? x : applyConvUnit(scope, shortcut, x)
  const main = applyConvUnit(scope, second, applyConvUnit(scope, first, x))
  return relu(tf.add<Tensor4D>(main, side))
}
