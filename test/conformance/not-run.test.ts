import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { NOT_RUN, REVISIONS, RUN, type Revision } from './scenarios.ts'
import { judge, SUITE } from './suite.ts'

/** Scenarios that are not run, over both revisions. It only falls: lower it when one is run, and never raise it. */
const NOT_RUN_COUNT = 3

const list = (...options: string[]): string =>
  execFileSync(process.execPath, [SUITE, 'list', ...options], { encoding: 'utf8' })

/** Names of the server scenarios of a revision's requirement set, scored or not. */
function required(revision: Revision): string[] {
  const output = list('--requirements', revision)
  const scored = output.split('Server scenarios')[1]!.split(/\n\n/)[0]!
  return [
    ...[...scored.matchAll(/^ {2}- (\S+)$/gm)].map((match) => match[1]!),
    ...[...output.matchAll(/^ {4}- (\S+) \[server\]$/gm)].map((match) => match[1]!),
  ]
}

/** Names of all server scenarios that the suite holds, with the revisions each is for. */
const offered = new Map(
  [...list('--server').matchAll(/^ {2}- (\S+) \[(.+)\]$/gm)].map((match) => [match[1]!, match[2]!.split(',')]),
)
const named = (revision: Revision): string[] => [...RUN[revision], ...NOT_RUN[revision]].map(({ name }) => name)

test.each(REVISIONS)('every scenario that %s requires is run, or says why it is not', (revision) => {
  const names = required(revision)
  expect(names.length).toBeGreaterThan(30)
  expect(named(revision)).toEqual(expect.arrayContaining(names))
})

test.each(REVISIONS)('every other scenario that the suite has for %s is run, or says why it is not', (revision) => {
  const names = [...offered].filter(
    ([, revisions]) => revisions.includes(revision) || (revision === '2026-07-28' && revisions.includes('extension')),
  )
  expect(named(revision).toSorted()).toEqual(names.map(([name]) => name).toSorted())
})

test('no scenario is named twice for a revision', () => {
  for (const revision of REVISIONS) expect(new Set(named(revision)).size).toBe(named(revision).length)
})

test('the number of scenarios that are not run is the committed one', () => {
  expect(REVISIONS.flatMap((revision) => NOT_RUN[revision])).toHaveLength(NOT_RUN_COUNT)
})

test('a scenario passes only if a check passed and none failed, warned or was skipped', () => {
  const passed = { id: 'a', status: 'SUCCESS' } as const
  const scenario = { name: 'x' }
  expect(judge(scenario, [passed, { id: 'b', status: 'INFO' }])).toEqual([])
  expect(judge(scenario, [])).toHaveLength(1)
  expect(judge(scenario, [{ id: 'b', status: 'INFO' }])).toHaveLength(1)
  expect(judge(scenario, [{ id: 'wire-schema-valid', status: 'SUCCESS' }])).toHaveLength(1)
  for (const status of ['FAILURE', 'WARNING', 'SKIPPED'] as const)
    expect(judge(scenario, [passed, { id: 'b', status, errorMessage: 'why' }])).toEqual([`${status} b: why`])
})

test('a scenario that must pass a check fails without it', () => {
  const scenario = { name: 'x', mustPass: ['resume'] }
  expect(judge(scenario, [{ id: 'resume', status: 'SUCCESS' }])).toEqual([])
  expect(
    judge(scenario, [
      { id: 'resume', status: 'INFO' },
      { id: 'a', status: 'SUCCESS' },
    ]),
  ).toHaveLength(1)
})

test('a stub of the suite passes as long as it is one', () => {
  const stub = { name: 'x', isStub: true } as const
  const schema = { id: 'wire-schema-valid', status: 'SUCCESS' } as const
  expect(judge(stub, [{ id: 'x', status: 'SKIPPED' }, schema])).toEqual([])
  expect(judge(stub, [])).toHaveLength(1)
  expect(judge(stub, [schema])).toHaveLength(1)
  for (const status of ['SUCCESS', 'FAILURE', 'WARNING', 'INFO'] as const)
    expect(
      judge(stub, [
        { id: 'x', status: 'SKIPPED' },
        { id: 'y', status },
      ]),
    ).toHaveLength(1)
})
