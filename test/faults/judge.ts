// Compares what was seen with what is expected. Pure, so that it can be tested itself.
import { allowedIn, cellOf, type Expectations } from './cells.ts'
import type { FaultName } from './faults.ts'
import type { FeatureName } from './features.ts'
import type { Record } from './load.ts'

/** What was seen in one run of a fault. Times in ms of `performance.now()`. */
export interface Seen {
  readonly fault: FaultName
  /** From then on all was well; what began before is not judged. */
  readonly settledMs: number
  readonly beganMs: number
  readonly endedMs: number
  readonly records: readonly Record[]
  /** Most connections that were tried in a second: during the fault, and after it. */
  readonly attempts: { readonly during: number; readonly after: number }
}

/** What came of one cell. */
export interface Verdict {
  readonly feature: FeatureName
  readonly uses: number
  /** So long after the end of the fault a use was last refused; `undefined`: none was. */
  readonly recoveredAfterMs: number | undefined
  /** The longest use that was begun while the fault lasted. */
  readonly slowestMs: number
  readonly problems: readonly string[]
}

/** A client must not be told where our servers are, or what a driver says. */
const LEAKS =
  /ECONN|ETIMEDOUT|EPIPE|socket|127\.0\.0\.1|localhost|getaddrinfo|ioredis|\bpg\b|postgres|aws|dynamo|amqp|rabbit|kafka|sqs|timeout exceeded|terminated|\n\s+at /i
/** A fault is not there at once: what was begun so shortly before or after its ends may go either way. */
const EDGE_MS = 150
/** What works is answered soon, however busy this machine is. */
const SOON_MS = 2500
/** So many problems of a kind are told. */
const MAX_TOLD = 3

/** Judges one feature. */
export function judge(feature: FeatureName, seen: Seen, expected: Expectations): Verdict {
  const { fault, settledMs, beganMs, endedMs } = seen
  const cell = cellOf(feature, expected)
  const records = seen.records.filter((record) => record.feature === feature && record.startMs >= settledMs)
  const before = records.filter(({ endMs }) => endMs < beganMs)
  const spanning = records.filter(({ startMs, endMs }) => startMs < beganMs + EDGE_MS && endMs >= beganMs)
  const during = records.filter(({ startMs }) => startMs >= beganMs + EDGE_MS && startMs < endedMs - EDGE_MS)
  const after = records.filter(({ startMs }) => startMs >= endedMs - EDGE_MS)
  const problems: string[] = []
  const blame = (what: string, culprits: readonly Record[]): void => {
    if (culprits.length === 0) return
    problems.push(
      `${culprits.length} ${what}: ${culprits
        .slice(0, MAX_TOLD)
        .map((one) => show(one, seen))
        .join('; ')}`,
    )
  }

  const { codes, mayWork } = allowedIn(cell, fault)
  const isAllowed = ({ code }: Record): boolean => code === 'ok' || codes.includes(code)
  const waits = fault !== 'slow' && cell.gone === 'waits'
  // A machine that was slow while all was well is not faster now.
  const machineMs = Math.max(0, ...before.map(({ startMs, endMs }) => endMs - startMs))
  const ownMs =
    fault === 'slow' ? expected.slowMs : cell.gone === 'works' && codes.length === 0 ? SOON_MS : expected.boundMs
  const boundMs = (cell.withinMs ?? ownMs) + machineMs

  if (before.length === 0) problems.push('was not used before the fault')
  blame(
    'failed before the fault',
    before.filter(({ code }) => code !== 'ok'),
  )
  blame(
    'came to something else when the fault began',
    spanning.filter((one) => !isAllowed(one)),
  )
  if (during.length === 0) problems.push('was not used during the fault')
  blame(
    'came to something else during the fault',
    during.filter((one) => !isAllowed(one)),
  )
  if (!mayWork)
    blame(
      'worked during the fault, all of it',
      during.filter(({ code, endMs }) => code === 'ok' && endMs < endedMs),
    )
  if (cell.goesOn === true && fault !== 'slow' && fault !== 'flapping') {
    const wentOn = spanning.filter(({ endMs, code }) => endMs > endedMs && code === 'ok')
    if (wentOn.length === 0) problems.push('none that had begun before the fault succeeded after it')
  }
  // What waits may take as long as the fault, and the time that things take to be well again.
  const isLate = ({ startMs, endMs }: Record): boolean =>
    waits || cell.goesOn === true
      ? endMs - Math.max(startMs, endedMs) > expected.recoverMs + boundMs
      : endMs - startMs > boundMs
  blame('took too long', [...spanning, ...during, ...after].filter(isLate))
  if (waits && fault !== 'flapping')
    blame(
      'ended without the backend',
      during.filter(({ endMs }) => endMs < endedMs - EDGE_MS),
    )

  const refused = after.filter(({ code }) => code !== 'ok')
  blame(
    'came to something else after the fault',
    refused.filter((one) => !isAllowed(one)),
  )
  const last = Math.max(...refused.map(({ endMs }) => endMs))
  const recoveredAfterMs = refused.length === 0 ? undefined : last - endedMs
  if (recoveredAfterMs !== undefined && recoveredAfterMs > expected.recoverMs)
    blame(`failed later than ${expected.recoverMs} ms after the fault`, refused.slice(-1))
  if (!after.some(({ code }) => code === 'ok')) problems.push('did not succeed after the fault')
  if (feature !== 'start')
    blame(
      'told a client what is none of its business',
      records.filter(({ text = '' }) => LEAKS.test(text)),
    )

  return {
    feature,
    uses: records.length,
    recoveredAfterMs,
    slowestMs: Math.max(0, ...during.map(({ startMs, endMs }) => endMs - startMs)),
    problems,
  }
}

/** Judges how the backend was met: a stampede keeps down what comes back. */
export function judgeAttempts({ attempts, fault }: Seen, expected: Expectations): string[] {
  // A second may see one that flaps come back twice.
  const attemptsPerSecond = expected.attemptsPerSecond * (fault === 'flapping' ? 2 : 1)
  return (['during', 'after'] as const)
    .filter((when) => attempts[when] > attemptsPerSecond)
    .map(
      (when) =>
        `${attempts[when]} connections were tried in a second ${when} the fault (${fault}); ${attemptsPerSecond} are allowed`,
    )
}

function show({ node, startMs, endMs, code, text }: Record, { beganMs, endedMs }: Seen): string {
  const at = (ms: number): string => ((ms - beganMs) / 1000).toFixed(2)
  const told = text === undefined ? '' : ` ${JSON.stringify(text.slice(0, 200))}`
  return `at node ${node + 1} from ${at(startMs)} s to ${at(endMs)} s (fault until ${at(endedMs)} s): ${code}${told}`
}
