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

function tsc(project: string): Promise<{ code: number; output: string }> {
  const program = join(ROOT, 'node_modules/typescript/bin/tsc')
  return new Promise((resolve) => {
    execFile(process.execPath, [program, '--project', project], { cwd: ROOT }, (error, stdout) =>
      resolve({ code: error === null ? 0 : 1, output: stdout }),
    )
  })
}

test('every code block of the documentation type-checks under the strictest settings', async () => {
  expect(BLOCKS.length).toBeGreaterThan(20)
  const project = join(written.folder, 'tsconfig.json')
  const config = {
    extends: '../../tsconfig.json',
    compilerOptions: { allowJs: true, checkJs: true, moduleDetection: 'force' },
    include: ['.'],
    exclude: [],
  }
  writeFileSync(project, JSON.stringify(config))
  expect(await tsc(project)).toEqual({ code: 0, output: '' })
  // The check would see a mistake.
  writeFileSync(
    join(written.folder, 'wrong.ts'),
    "import { defineServer } from 'holdfast'\ndefineServer({ name: 1 })\n",
  )
  expect((await tsc(project)).output).toContain('wrong.ts')
})
