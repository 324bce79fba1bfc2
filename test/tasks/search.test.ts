import { describe, expect, test } from 'vitest'
import * as transitions from '../../src/tasks/transitions.ts'
import type { Row } from '../../src/tasks/transitions.ts'
import { search, type Rules, type Transitions } from './search.ts'

const RULES: Rules = { transitions, hasSweeper: true, acknowledgesEarly: false, isAttended: false }
const mutant = (changed: Partial<Transitions>): Rules => ({ ...RULES, transitions: { ...transitions, ...changed } })
/** A row as a stale holder would have to find it. */
const asHolder = (row: Row, fence: number): Row => ({ ...row, state: 'leased', fence })

test.each([
  ['a task', false],
  ['a task that somebody attends', true],
])(
  'in no order of events does %s end twice, lose an answer, or get stuck',
  { timeout: 120_000 },
  (_what, isAttended) => {
    const { violation, worlds, finals } = search({ ...RULES, isAttended })
    expect(violation).toBeUndefined()
    expect([...finals].toSorted()).toEqual(['cancelled', 'completed', 'failed'])
    expect(worlds).toBeGreaterThan(20_000)
  },
)

describe('the search finds what is wrong with', () => {
  const MUTANTS: Record<string, Rules> = {
    'no fence at the end': mutant({
      finish: (row, fence, how, nowMs) =>
        row.state === 'leased' ? transitions.finish(asHolder(row, fence), fence, how, nowMs) : { row, outcome: 'lost' },
    }),
    'no fence at a step': mutant({
      recordStep: (row, fence, name, value, leaseMs, nowMs) =>
        transitions.recordStep(
          { ...asHolder(row, fence), journal: row.journal.filter((entry) => entry.name !== name) },
          fence,
          name,
          value,
          leaseMs,
          nowMs,
        ),
    }),
    'an end that looks at the fence alone': mutant({
      finish: (row, fence, how, nowMs) =>
        row.fence === fence ? transitions.finish(asHolder(row, fence), fence, how, nowMs) : { row, outcome: 'lost' },
    }),
    'a claim that leaves the fence as it is': mutant({
      claim: (row, worker, token, leaseMs, nowMs) => {
        const claimed = transitions.claim(row, worker, token, leaseMs, nowMs)
        return claimed.outcome ? { ...claimed, row: { ...claimed.row, fence: Math.max(1, row.fence) } } : claimed
      },
    }),
    'a second answer that takes the place of the first': mutant({
      answer: (row, answers, nowMs) => {
        const open = row.journal.map((entry) => (entry.kind === 'ask' ? { ...entry, value: undefined } : entry))
        return row.state === 'ready' || row.state === 'parked'
          ? transitions.answer({ ...row, state: 'parked', journal: open }, answers, nowMs)
          : { row, outcome: { open: 0 } }
      },
    }),
    'a last answer that wakes nobody': mutant({
      answer: (row, answers, nowMs) => {
        const answered = transitions.answer(row, answers, nowMs)
        return answered.row.state === 'ready'
          ? { ...answered, row: { ...answered.row, state: 'parked', expiresMs: undefined, runAtMs: Infinity } }
          : answered
      },
    }),
    'crashes that nobody counts': mutant({
      sweep: (row, settings, nowMs) => {
        const swept = transitions.sweep(row, settings, nowMs)
        return swept.outcome === 'lost' && swept.row.state === 'failed'
          ? { ...swept, row: { ...row, crashes: row.crashes + 2, state: 'ready' } }
          : swept
      },
    }),
    'questions that expire, and wake nobody': mutant({
      sweep: (row, settings, nowMs) => {
        const swept = transitions.sweep(row, settings, nowMs)
        return swept.outcome === 'woken' && transitions.openAsks(row) > 0
          ? { ...swept, row: { ...swept.row, state: 'parked', expiresMs: undefined, runAtMs: Infinity } }
          : swept
      },
    }),
    'questions that expire although they were answered': mutant({
      sweep: (row, settings, nowMs) => {
        const isLate = row.state === 'ready' && nowMs >= row.runAtMs
        const journal = row.journal.map((entry) => (entry.kind === 'ask' ? { ...entry, value: undefined } : entry))
        return isLate && row.journal.some(({ kind, value }) => kind === 'ask' && value !== undefined)
          ? transitions.sweep({ ...row, state: 'parked', journal }, settings, nowMs)
          : transitions.sweep(row, settings, nowMs)
      },
    }),
    'a question that is asked again under its name': mutant({
      claim: (row, worker, token, leaseMs, nowMs) => {
        const claimed = transitions.claim(row, worker, token, leaseMs, nowMs)
        const [step, ...rest] = claimed.row.journal
        return claimed.outcome && rest.length > 0
          ? { ...claimed, row: { ...claimed.row, journal: [step!, ...rest, ...rest] } }
          : claimed
      },
    }),
    'an expiry that makes a dead letter of what nobody attends': {
      ...mutant({
        sweep: (row, settings, nowMs) => {
          const swept = transitions.sweep({ ...row, isAttended: false }, settings, nowMs)
          return { ...swept, row: { ...swept.row, isAttended: true } }
        },
      }),
      isAttended: true,
    },
    'attending that brings back what has ended': {
      ...mutant({
        attend: (row, ttlMs, nowMs) => ({
          row: { ...row, expiresMs: nowMs + ttlMs, state: 'ready' },
          outcome: undefined,
        }),
      }),
      isAttended: true,
    },
    'no sweeper': { ...RULES, hasSweeper: false },
    'an acknowledgement before the commit': { ...RULES, acknowledgesEarly: true },
  }
  test.each(Object.entries(MUTANTS))('%s', { timeout: 120_000 }, (_name, rules) => {
    const { violation } = search(rules)
    expect(violation?.path.length).toBeGreaterThan(0)
    expect(violation?.what).toMatchSnapshot()
  })
})
