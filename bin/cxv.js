#!/usr/bin/env node
import { main } from '../dist/src/cli/main.js'

const rooms = { serve: () => import('../dist/src/serve/index.js') }
process.exitCode = await main(process.argv.slice(2), rooms)
