// Builds dist/ from src/: TypeScript to ESM with declarations.
// Runs on the Node that `npm ci` finds, which may be older than 22, so `prepare` starts it through the pinned one.
import { execFileSync } from 'node:child_process'
import { chmodSync, rmSync } from 'node:fs'

rmSync('dist', { recursive: true, force: true })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' })
chmodSync('dist/cli/main.js', 0o755)
