import { onTestFinished } from 'vitest'
import { withSchema } from '../../src/backends/postgres/url.ts'
import { query } from '../servers/postgres.ts'

let count = 0

/** A schema of the running test's own, which is not there yet, and is gone after the test. */
export function emptySchema(url: string): { name: string; url: string } {
  const name = `test_${process.pid}_${++count}`
  onTestFinished(async () => void (await query(url, `drop schema if exists ${name} cascade`)))
  return { name, url: withSchema(url, name) }
}
