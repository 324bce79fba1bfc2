import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { renderErrors } from '../../scripts/generate-errors.ts'
import { ERRORS } from '../../src/errors/table.ts'
import { ROOT } from './documents.ts'

test('docs/errors.md is what the error table says: else run `npm run docs:errors`', async () => {
  const page = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8')
  expect(page).toBe(await renderErrors())
  for (const code of Object.keys(ERRORS)) expect(page).toContain(`\`${code}\``)
})
