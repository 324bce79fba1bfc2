import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BLOCKS, writeBlocks } from './blocks.ts'
import { ROOT } from './documents.ts'

let written: ReturnType<typeof writeBlocks>
beforeAll(() => {
  written = writeBlocks('docs-types')
})
afterAll(() => written.remove())

/** What the compiler has to say. */
function tsc(project: string): Promise<string> {
  const program = join(ROOT, 'node_modules/typescript/bin/tsc')
  return new Promise((resolve) => {
    execFile(process.execPath, [program, '--project', project], { cwd: ROOT }, (error, stdout) =>
      resolve(stdout === '' && error !== null ? error.message : stdout),
    )
  })
}

/** The official SDKs' own types do not fit each other under this setting. */
const FOREIGN = 'docs-migrating/sdk*.ts'

async function check(name: string, compilerOptions: object, exclude: readonly string[]): Promise<string> {
  const project = join(written.folder, name)
  const options = { allowJs: true, checkJs: true, moduleDetection: 'force', ...compilerOptions }
  writeFileSync(
    project,
    JSON.stringify({ extends: '../../tsconfig.json', compilerOptions: options, include: ['.'], exclude }),
  )
  return tsc(project)
}

test(
  'every code block of the documentation type-checks, under the strictest settings',
  { timeout: 120_000 },
  async () => {
    expect(BLOCKS.length).toBeGreaterThan(20)
    expect(await check('strict.json', {}, [FOREIGN])).toBe('')
    expect(await check('loose.json', { exactOptionalPropertyTypes: false }, [])).toBe('')
    // The check would see a mistake.
    writeFileSync(
      join(written.folder, 'wrong.ts'),
      "import { defineServer } from 'holdfast'\ndefineServer({ name: 1 })\n",
    )
    expect(await check('strict.json', {}, [FOREIGN])).toContain('wrong.ts')
  },
)
