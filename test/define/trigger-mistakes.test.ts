import { expect, test } from 'vitest'
import * as z from 'zod'
import { defineServer, defineTool, defineTrigger, type TriggerDefinition } from '../../src/index.ts'
import { refused } from './refused.ts'

// As people who write JavaScript may have it: unchecked by the compiler.
const trigger = (options: object): unknown =>
  defineTrigger({ name: 'orders', tool: 'ingest', from: 'sqs://orders', ...options } as never)
const schedule = (from: object): unknown => trigger({ from: { cron: '0 6 * * *', ...from } })
const WHERE = /^defineTrigger\("orders"\)/

refused('a trigger', [
  ['nothing at all', () => defineTrigger(undefined as never), /^defineTrigger/, /undefined/, /object|\{/],
  ['no name', () => trigger({ name: undefined }), /^defineTrigger\(undefined\): /, /name/, /1 to 64/],
  ['a name with a slash', () => trigger({ name: 'a/b' }), /^defineTrigger\("a\/b"\): /, /name/, /letters, digits/],
  ['no tool', () => trigger({ tool: undefined }), WHERE, /`tool` is undefined/, /name of one/],
  ['a tool in place of its name', () => trigger({ tool: {} }), WHERE, /`tool` is an object/, /name of one/],
  ['a misspelt field', () => trigger({ principle: 1 }), WHERE, /no field `principle`/, /\bprincipal\b/],
  ['no source', () => trigger({ from: undefined }), WHERE, /`from` is undefined/, /a URL/],
  ['a source that is none', () => trigger({ from: 7 }), WHERE, /`from` is 7/, /a function/],
  ['a password', () => trigger({ from: 'amqp://me:secret@h/q' }), WHERE, /a password/, /process\.env/],
  ['a concurrency of 0', () => trigger({ concurrency: 0 }), WHERE, /`concurrency` is 0/, /1 to 1000/],
  ['an id that is no function', () => trigger({ id: 'x' }), WHERE, /`id` is not a function/, /Give `id`/],
  ['arguments that are none', () => trigger({ toArguments: {} }), WHERE, /`toArguments` is not/, /a function/],
  ['a principal without a subject', () => trigger({ principal: { issuer: 'x' } }), WHERE, /`principal`/, /subject/],
  [
    'an anonymous principal',
    () => trigger({ principal: { issuer: 'anonymous', subject: 'anonymous', scopes: [] } }),
    WHERE,
    /`principal`/,
    /can’t be anonymous/,
  ],
  ['a schedule without a time', () => trigger({ from: {} }), WHERE, /`from.cron` is undefined/, /five fields/],
  ['a time that is none', () => schedule({ cron: 'daily' }), WHERE, /`from.cron` is "daily"/, /five fields/],
  ['a minute that is none', () => schedule({ cron: '61 * * * *' }), WHERE, /minute: 61/, /five fields/],
  ['a year', () => schedule({ cron: '0 0 0 1 1 * 2030' }), WHERE, /2030/, /five fields/],
  ['a date', () => schedule({ cron: '2030-01-01T00:00:00' }), WHERE, /2030/, /five fields/],
  ['a time that never comes', () => schedule({ cron: '0 0 30 2 *' }), WHERE, /never comes/, /five fields/],
  ['a misspelt zone', () => schedule({ timeZone: 'Europe/Talinn' }), WHERE, /"Europe\/Talinn"/, /IANA/],
  ['a misspelt field of its schedule', () => schedule({ tz: 'UTC' }), WHERE, /no field `tz`/, /timeZone/],
  ['a negative catch-up', () => schedule({ catchUpMs: -1 }), WHERE, /`from.catchUpMs` is -1/, /0 or more/],
  ['an id of a schedule', () => trigger({ from: { cron: '@daily' }, id: () => '' }), WHERE, /no field `id`/, /from/],
])

test('the message of a refused URL does not hold its password', () => {
  expect(() => trigger({ from: 'amqp://me:secret@h/q' })).not.toThrow(/secret/)
})

const ingest = defineTool({ name: 'ingest', description: 'Works', task: true, run: () => 'done' })
const server = (triggers: unknown, tools: object[] = [ingest]): unknown =>
  defineServer({ name: 'docs', version: '1.0.0', tools, triggers } as never)
const valid = defineTrigger({ name: 'orders', tool: 'ingest', from: 'sqs://orders' })
const withTool = (options: object): object[] => [
  defineTool({ name: 'ingest', description: 'Works', task: true, run: () => 'done', ...options } as never),
]

refused('a server with triggers', [
  ['that are no array', () => server({}), /^defineServer/, /`triggers`/, /array/],
  ['of which one is none', () => server([{ name: 'x' }]), /^defineServer/, /triggers\[0\]/, /Wrap it/],
  ['of which two have one name', () => server([valid, valid]), /^defineServer/, /both "orders"/, /Rename/],
  ['of a tool that it lacks', () => server([valid], []), WHERE, /no tool "ingest"/, /Its tools are none/],
  ['of a tool that is no task', () => server([valid], withTool({ task: undefined })), WHERE, /as a task/, /task: true/],
  [
    'of a tool that needs a client',
    () => server([valid], withTool({ needs: ['elicitation'] })),
    WHERE,
    /needs elicitation/,
    /no client/,
  ],
  [
    'whose principal lacks a scope',
    () =>
      server(
        [defineTrigger({ ...options, principal: { issuer: 'i', subject: 's', scopes: [] } })],
        withTool({ scopes: ['docs:write'] }),
      ),
    WHERE,
    /lacks the scope "docs:write"/,
    /"ingest" needs it/,
  ],
  [
    'that catches up on what is not kept any more',
    () =>
      server(
        [defineTrigger({ name: 'orders', tool: 'ingest', from: { cron: '@daily', catchUpMs: 2000 } })],
        withTool({ task: { retentionMs: 1000 } }),
      ),
    WHERE,
    /2000.*kept for 1000 ms/,
    /`retentionMs`/,
  ],
])
const options = { name: 'orders', tool: 'ingest', from: 'sqs://orders' }

const times = ({ from }: TriggerDefinition, after: string, count: number): string[] => {
  if (typeof from !== 'object') throw new Error('It has no schedule.')
  const all: string[] = []
  for (let at = Date.parse(after); all.length < count; all.push(new Date(at).toISOString())) at = from.next(at)!
  return all
}
const at = (cron: string, timeZone?: string): TriggerDefinition =>
  defineTrigger({ name: 'x', tool: 'ingest', from: { cron, ...(timeZone !== undefined && { timeZone }) } })

test.each([
  // Read in UTC wherever a worker runs.
  ['0 6 * * *', undefined, '2026-03-28T07:00:00Z', ['2026-03-29T06:00:00.000Z', '2026-03-30T06:00:00.000Z']],
  // Six o'clock stays six o'clock when summer time begins.
  ['0 6 * * *', 'Europe/Berlin', '2026-03-28T07:00:00Z', ['2026-03-29T04:00:00.000Z', '2026-03-30T04:00:00.000Z']],
  // A time of the hour that is left out comes with its end, on the same day.
  ['30 2 * * *', 'Europe/Berlin', '2026-03-28T07:00:00Z', ['2026-03-29T01:00:00.000Z', '2026-03-30T00:30:00.000Z']],
  // One of the hour that comes twice comes once.
  ['30 2 * * *', 'Europe/Berlin', '2026-10-24T07:00:00Z', ['2026-10-25T00:30:00.000Z', '2026-10-26T01:30:00.000Z']],
  // Every hour is every hour.
  ['0 * * * *', 'Europe/Berlin', '2026-10-25T00:00:00Z', ['2026-10-25T01:00:00.000Z', '2026-10-25T02:00:00.000Z']],
  // A change of half an hour.
  [
    '*/15 * * * *',
    'Australia/Lord_Howe',
    '2026-10-03T15:15:00Z',
    ['2026-10-03T15:30:00.000Z', '2026-10-03T15:45:00.000Z'],
  ],
  ['*/20 * * * * *', undefined, '2026-01-01T00:00:00Z', ['2026-01-01T00:00:20.000Z', '2026-01-01T00:00:40.000Z']],
  ['0 0 L * *', undefined, '2028-02-01T00:00:00Z', ['2028-02-29T00:00:00.000Z', '2028-03-31T00:00:00.000Z']],
  ['@daily', undefined, '2026-01-01T00:00:00Z', ['2026-01-02T00:00:00.000Z', '2026-01-03T00:00:00.000Z']],
])('%s in %s after %s is %j', (cron, timeZone, after, expected) => {
  expect(times(at(cron, timeZone), after, expected.length)).toEqual(expected)
})

test('a trigger is ready when it is given to a server', () => {
  const tool = defineTool({
    name: 'ingest',
    description: 'Works',
    input: z.object({ a: z.number() }),
    task: true,
    run: () => 'done',
  })
  const made = defineServer({ name: 'docs', version: '1.0.0', tools: [tool], triggers: [valid, at('@daily')] })
  expect(made.triggers.map(({ name }) => name)).toEqual(['orders', 'x'])
  expect(defineServer({ name: 'docs', version: '1.0.0' }).triggers).toEqual([])
})
