import {
  applyConvUnit,
  applyHead,
  convUnitParameters,
  headParameters,
  type ConvUnit,
  type Model,
} from './layers.ts'

/** [channels, stride] of the 3x3 units. */
const PLAN: readonly (readonly [number, number])[] = [
  [16, 2],
  [32, 1],
  [64, 2],
  [64, 1],
  [128, 2],
  [128, 1],
]

/**
 * Seven layers for small data sets and machines without a GPU: 3x3 convolutions with batch norm and ReLU,
 * 1/8 of the input's size at the end, mean over space, one dense layer. 0.29 M parameters.
 */
export function smallCnn(channels: number, labels: number): Model {
  let inC = channels
  const units = PLAN.map(([outC, stride], i): ConvUnit => {
    const unit = { name: `conv${i + 1}`, inC, outC, size: 3, stride, relu: true }
    inC = outC
    return unit
  })
  return {
    parameters: [...units.flatMap(convUnitParameters), ...headParameters(inC, labels)],
    features: inC,
    apply(scope, x) {
      let h = x
      for (const unit of units) h = applyConvUnit(scope, unit, h)
      return applyHead(scope, h)
    },
  }
}
