#!/usr/bin/env node
import { enableCompileCache } from 'node:module'

// The second start of a server should not pay for compiling it again.
enableCompileCache()
const { run } = await import('./run.ts')
process.exitCode = await run(process.argv.slice(2))
// A log pipe whose reader has stopped reading would hold the process for ever.
setTimeout(() => process.exit(), 1000).unref()
