import test from 'node:test'
import { TENSORFLOW_SKIP, tensorflowFolder } from '../../test/helpers/tensorflow-folder.ts'
import { engineSuite } from '../../test/suites/engine.suite.ts'
import { openEngine } from './engine.ts'

const reference = (): ReturnType<typeof openEngine> => openEngine({ name: 'cpu' })

engineSuite({ test, name: 'cpu', make: reference, reference })
engineSuite({ test, name: 'wasm', make: () => openEngine({ name: 'wasm' }), reference })

const folder = tensorflowFolder()
if (folder === undefined) {
  test('tensorflow: the engine suite', { skip: TENSORFLOW_SKIP }, () => {})
} else {
  const make = (): ReturnType<typeof openEngine> =>
    openEngine({ name: 'tensorflow', tensorflowModule: folder })
  engineSuite({ test, name: 'tensorflow', make, reference })
}
