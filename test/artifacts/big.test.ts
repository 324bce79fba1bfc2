import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { measure } from './big/measure.ts'

const dir = mkdtempSync(join(tmpdir(), 'holdfast-big-'))
afterAll(() => rmSync(dir, { recursive: true }))

// A gigabyte, and S3 too: `npm run test:big-artifacts`.
test('an artifact of 256 MiB is written, read by a handler and downloaded with no more than 64 MB of memory', async () => {
  const { grownBytes } = await measure(`file:${dir}/artifacts`, dir, 256 * 1024 * 1024)
  expect(grownBytes / 1e6).toBeLessThan(64)
}, 120_000)
