import { systemClock } from '../ports/clock.ts'
import type { TestRunner } from '../testing/contracts/suite.ts'
import { errorText } from './error-text.ts'

/** What became of one test. */
export interface TestOutcome {
  readonly suite: string
  readonly test: string
  readonly ok: boolean
  readonly durationMs: number
  readonly error?: string
}

type Step = () => Promise<void>
interface Planned {
  suite: string
  test: string
  steps: { before: Step[]; body: Step; after: Step[] }
}

const TIMEOUT_MS = 60_000

/**
 * Runs contract suites without a test framework, one test after another; a test that does not end within a minute has failed.
 * @param declare given the runner's functions; declares the suites.
 * @param report told of each test as it ends.
 */
export async function runContracts(
  declare: (runner: TestRunner) => void,
  report: (outcome: TestOutcome) => void,
): Promise<{ passed: number; failed: number }> {
  const planned: Planned[] = []
  let suite = ''
  let before: Step[] = []
  let after: Step[] = []
  declare({
    describe(name, body) {
      suite = name
      before = []
      after = []
      body()
    },
    beforeEach: (step) => void before.push(step),
    afterEach: (step) => void after.push(step),
    test: (name, body) => void planned.push({ suite, test: name, steps: { before, body, after } }),
  })
  const counts = { passed: 0, failed: 0 }
  for (const { suite, test, steps } of planned) {
    const startedMs = systemClock.monotonic()
    let error: string | undefined
    try {
      await inTime([...steps.before, steps.body])
    } catch (thrown) {
      error = errorText(thrown)
    }
    try {
      await inTime(steps.after)
    } catch (thrown) {
      error ??= errorText(thrown)
    }
    counts[error === undefined ? 'passed' : 'failed']++
    const durationMs = Math.round(systemClock.monotonic() - startedMs)
    report({ suite, test, ok: error === undefined, durationMs, ...(error === undefined ? {} : { error }) })
  }
  return counts
}

async function inTime(steps: readonly Step[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`It did not end within ${TIMEOUT_MS / 1000} s.`)), TIMEOUT_MS)
  })
  const run = async (): Promise<void> => {
    for (const step of steps) await step()
  }
  try {
    await Promise.race([run(), timeout])
  } finally {
    clearTimeout(timer)
  }
}
