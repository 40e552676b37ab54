import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { engineSuite } from '../../test/suites/engine.suite.ts'
import { openEngine } from './engine.ts'

const reference = (): ReturnType<typeof openEngine> => openEngine({ name: 'cpu' })

engineSuite({ test, name: 'cpu', make: reference, reference })
engineSuite({ test, name: 'wasm', make: () => openEngine({ name: 'wasm' }), reference })

const folder =
  process.env['CXV_TEST_TENSORFLOW'] ?? join(homedir(), '.local/share/cxv/engines/tensorflow')
if (existsSync(join(folder, 'node_modules/@tensorflow'))) {
  const make = (): ReturnType<typeof openEngine> =>
    openEngine({ name: 'tensorflow', tensorflowModule: folder })
  engineSuite({ test, name: 'tensorflow', make, reference })
} else {
  test('tensorflow', { skip: `no engine in ${folder}: run cxv engine add tensorflow` }, () => {})
}
