import type { Tf } from './types.ts'

interface TensorInfo {
  readonly dataId: object
  readonly shape: number[]
  readonly dtype: 'float32' | 'int32' | 'bool' | 'string' | 'complex64'
}
interface WasmBackend {
  makeOutput(shape: readonly number[], dtype: string): TensorInfo
  typedArrayFromHeap(tensor: TensorInfo): Float32Array
}

/**
 * Copies a block out of x on the heap. tfjs's own Slice first copies the whole of x out of the heap, which
 * made cutting one row cost as much as cutting all.
 */
function sliceOnHeap(
  tf: Tf,
  backend: WasmBackend,
  x: TensorInfo,
  begin: readonly number[],
  size: readonly number[],
): TensorInfo {
  const out = backend.makeOutput(size, x.dtype)
  if (tf.util.sizeFromShape([...size]) === 0) return out
  const from = backend.typedArrayFromHeap(x)
  const to = backend.typedArrayFromHeap(out)
  const rank = size.length
  // The innermost axes that are taken whole are one run of bytes, with the axis before them.
  let axis = rank - 1
  while (axis > 0 && size[axis] === x.shape[axis]) axis--
  const strides = [...tf.util.computeStrides(x.shape), 1]
  const run = size.slice(Math.max(0, axis)).reduce((a, b) => a * b, 1)
  const at = begin.map((_, i) => begin[i]! * strides[i]!)
  const base = at.reduce((a, b) => a + b, 0)
  const outer = size.slice(0, Math.max(0, axis))
  const index = outer.map(() => 0)
  for (let done = 0; done < to.length; done += run) {
    const start = index.reduce((sum, n, i) => sum + n * strides[i]!, base)
    to.set(from.subarray(start, start + run), done)
    for (let i = outer.length - 1; i >= 0; i--) {
      if (++index[i]! < outer[i]!) break
      index[i] = 0
    }
  }
  return out
}

interface HeapCall {
  readonly inputs: { readonly x: TensorInfo }
  readonly backend: WasmBackend
  readonly attrs: Readonly<Record<string, unknown>>
}

/** Replaces Slice and SplitV of float tensors. */
export function registerSlices(tf: Tf): void {
  const register = (kernelName: string, kernelFunc: (call: HeapCall) => unknown): void => {
    const shipped = tf.getKernel(kernelName, 'wasm')
    tf.unregisterKernel(kernelName, 'wasm')
    tf.registerKernel({
      ...shipped,
      kernelFunc: ((call: HeapCall) =>
        call.inputs.x.dtype === 'float32'
          ? kernelFunc(call)
          : shipped.kernelFunc(call as never)) as typeof shipped.kernelFunc,
    })
  }
  register('Slice', ({ inputs: { x }, backend, attrs }) => {
    const { begin, size } = attrs as { begin: number | number[]; size: number | number[] }
    const [from, length] = tf.slice_util.parseSliceParams(x as never, begin, size)
    return sliceOnHeap(tf, backend, x, from as number[], length as number[])
  })
  register('SplitV', ({ inputs: { x }, backend, attrs }) => {
    const { numOrSizeSplits, axis } = attrs as { numOrSizeSplits: number | number[]; axis: number }
    const along = tf.util.parseAxisParam(axis, x.shape)[0]!
    const sizes = tf.backend_util.prepareSplitSize(x as never, numOrSizeSplits, along)
    let at = 0
    return sizes.map((length) => {
      const begin = x.shape.map((_, i) => (i === along ? at : 0))
      at += length
      return sliceOnHeap(
        tf,
        backend,
        x,
        begin,
        x.shape.map((n, i) => (i === along ? length : n)),
      )
    })
  })
}
