// Builds dist/ from src/: declarations by TypeScript, and ESM in a few files by rolldown. Node takes 0.3 ms for each file it
// loads, so sixty of them would be a tenth of a server's start.
// `prepare` runs this on the Node that the repository pins, whichever Node `npm ci` was started with.
import { execFileSync } from 'node:child_process'
import { chmodSync, rmSync } from 'node:fs'
import { rolldown } from 'rolldown'

rmSync('dist', { recursive: true, force: true })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' })
const bundle = await rolldown({
  input: {
    index: 'src/index.ts',
    'ai-sdk/index': 'src/ai-sdk/index.ts',
    'testing/index': 'src/testing/index.ts',
    'cli/main': 'src/cli/main.ts',
    'threads/sqlite': 'src/backends/sqlite/thread.ts', // found by its place, seen from chunks/
    'threads/leases': 'src/compose/lease-thread.ts',
    'threads/isolate': 'src/compose/isolate.ts',
  },
  platform: 'node',
  external: /^[^./]/, // packages are installed beside, not packed in
})
await bundle.write({ dir: 'dist', format: 'esm', chunkFileNames: 'chunks/[name]-[hash].js' })
await bundle.close()
chmodSync('dist/cli/main.js', 0o755)
