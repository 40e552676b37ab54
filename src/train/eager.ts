import type {
  CompiledStep,
  EngineDescription,
  HostTensor,
  HostTensors,
  Ops,
  Step,
  Tensor,
  Tensors,
} from './types.ts'

/** What an engine's own file gives: its ops and its words. */
export interface OpenedBackend {
  readonly ops: Ops
  /** tfjs-core's name of the backend. */
  readonly backend: string
  readonly describe: EngineDescription
}

const toDevice = (ops: Ops, tensor: HostTensor): Tensor =>
  ops.tf.tensor(tensor.data, [...tensor.shape], 'float32')

const toHost = (tensor: Tensor): HostTensor => ({
  shape: [...tensor.shape],
  // A copy: on cpu dataSync returns the backend's own array.
  data: Float32Array.from(tensor.dataSync()),
})

const mapValues = <A, B>(record: Readonly<Record<string, A>>, map: (value: A) => B) =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]))

const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((n, i) => n === b[i])

function assertSameState(
  expected: Tensors,
  given: Readonly<Record<string, { shape: readonly number[] }>>,
) {
  const names = Object.keys(expected)
  if (Object.keys(given).length !== names.length) {
    throw new Error(`the state has ${names.length} tensors, not ${Object.keys(given).length}`)
  }
  for (const name of names) {
    const tensor = given[name]
    if (tensor === undefined || !sameShape(tensor.shape, expected[name]!.shape)) {
      throw new Error(`state "${name}" is missing or has another shape`)
    }
  }
}

/**
 * Runs a step op by op. The state stays on the device between runs; all else of a run is disposed of.
 * @param activate makes the engine's backend the current one of tfjs-core
 */
export function compileEager(
  { ops, activate }: { readonly ops: Ops; readonly activate: () => void },
  step: Step,
  initial: HostTensors,
): CompiledStep {
  const { tf } = ops
  const disposeAll = (tensors: Tensors): void => {
    for (const tensor of Object.values(tensors)) tensor.dispose()
  }
  const upload = (host: HostTensors): Tensors => {
    activate()
    return mapValues(host, (tensor) => tf.keep(toDevice(ops, tensor)))
  }
  let state = upload(initial)
  return {
    async run(feed) {
      activate()
      const before = state
      let out: HostTensors = {}
      tf.tidy(() => {
        const result = step(
          ops,
          before,
          mapValues(feed, (tensor) => toDevice(ops, tensor)),
        )
        assertSameState(before, result.state)
        out = mapValues(result.out, toHost)
        state = mapValues(result.state, (tensor) => tf.keep(tensor))
      })
      const kept = new Set(Object.values(state))
      for (const tensor of Object.values(before)) if (!kept.has(tensor)) tensor.dispose()
      return out
    },
    async read(wanted = () => true) {
      activate()
      const chosen = Object.entries(state).filter(([name]) => wanted(name))
      return mapValues(Object.fromEntries(chosen), toHost)
    },
    async write(next) {
      assertSameState(state, next)
      const before = state
      state = upload(next)
      disposeAll(before)
    },
    dispose() {
      disposeAll(state)
      state = {}
    },
  }
}
