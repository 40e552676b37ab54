import test from 'node:test'
import { engineSuite } from '../../test/suites/engine.suite.ts'
import { openEngine } from './engine.ts'

const reference = (): ReturnType<typeof openEngine> => openEngine({ name: 'cpu' })

engineSuite({ test, name: 'cpu', make: reference, reference })
engineSuite({ test, name: 'wasm', make: () => openEngine({ name: 'wasm' }), reference })
