import { expect, test } from 'vitest'
import { HoldfastError } from '../../src/errors/holdfast-error.ts'
import { Repeats } from '../../src/telemetry/repeats.ts'
import { RuntimeTelemetry } from '../../src/telemetry/telemetry.ts'
import { createLogFile } from './log-file.ts'
import { IDLE } from './fixture.ts'

test('a text passes once in five seconds, and then says how often it was kept back', () => {
  const repeats = new Repeats()
  expect(repeats.pass('a', 0)).toBe(0)
  for (let nowMs = 1; nowMs < 5000; nowMs += 100) expect(repeats.pass('a', nowMs)).toBeUndefined()
  expect(repeats.pass('b', 4000)).toBe(0)
  expect(repeats.pass('a', 5000)).toBe(50)
  expect(repeats.pass('a', 20_000)).toBe(0)
})

test('texts that are never the same do not fill the memory, and those that are remembered stay so', () => {
  const repeats = new Repeats()
  for (let index = 0; index < 10_000; index++) expect(repeats.pass(`task ${index}`, index)).toBe(0)
  expect(repeats.pass('task 9999', 10_000)).toBeUndefined()
  expect(repeats.pass('task 0', 10_000)).toBe(0)
})

test('a backend that is away fills no log, and other errors are written each', async () => {
  const log = createLogFile()
  const telemetry = await RuntimeTelemetry.create({ level: 'info', fd: log.fd }, IDLE)
  for (let index = 0; index < 1000; index++)
    telemetry.failure(
      undefined,
      'A change could not be published.',
      new HoldfastError('backend_failed', 'Redis is away.'),
    )
  for (let index = 0; index < 3; index++) telemetry.failure(undefined, 'Something else failed.', new Error('why'))
  await telemetry.close()
  expect(log.lines().map(({ msg }) => msg)).toEqual([
    'A change could not be published.',
    'Something else failed.',
    'Something else failed.',
    'Something else failed.',
  ])
})
