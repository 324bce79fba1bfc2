import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { renderFailures, renderTable } from '../../scripts/generate-failures.ts'
import { ROOT } from './documents.ts'

test('docs/failures.md says what the fault tests expect: else run `npm run docs:failures`', async () => {
  const page = readFileSync(join(ROOT, 'docs/failures.md'), 'utf8')
  expect(page).toBe(await renderFailures())
  expect(renderTable().split('\n').length).toBeGreaterThan(10)
})
