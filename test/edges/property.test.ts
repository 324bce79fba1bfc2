import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRuntime, type Runtime } from '../../src/index.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { internalsOf } from '../../src/compose/runtime.ts'
import type { Connection } from '../../src/kernel/exchange.ts'
import type { Kernel } from '../../src/kernel/kernel.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { FakeExchange } from './support/fake-exchange.ts'
import { createFixture } from './support/fixture.ts'
import { heldBytes } from './support/memory.ts'
import { BASE_HEADERS, legacy, modernHeaders, type Json } from './support/messages.ts'
import { mangle, mutate, mutateHeaders, type Change } from './support/mutate.ts'
import { judge, judgeBodiless, parse } from './support/oracle.ts'
import { BATCH_TEMPLATES, LEGACY_TEMPLATES, MODERN_TEMPLATES } from './support/templates.ts'

/** Messages in all; more for a longer look (`PROPERTY_RUNS=1000000`). */
const MESSAGES = Number(process.env.PROPERTY_RUNS ?? 100_000)
const MESSAGES_PER_RUN = 25
const REVISIONS = ['2025-11-25', '2025-06-18', '2025-03-26'] as const
const MEBIBYTE = 1024 * 1024

/** What one message is made of: numbers, each taken modulo what there is. */
interface Recipe {
  readonly lane: number
  readonly template: number
  readonly changes: readonly Change[]
  readonly bytes: readonly Change[]
  readonly headers: readonly Change[]
}
const change: fc.Arbitrary<Change> = fc.tuple(fc.nat(7), fc.nat(63), fc.nat(1023))
const changes = (most: number): fc.Arbitrary<Change[]> => fc.array(change, { minLength: 1, maxLength: most })
/** Mostly few: a message with everything wrong is refused at the first check. */
const some = fc.oneof(
  { weight: 2, arbitrary: fc.constant([]) },
  { weight: 5, arbitrary: changes(1) },
  { weight: 2, arbitrary: changes(2) },
  { weight: 1, arbitrary: changes(5) },
)
const seldom = fc.oneof({ weight: 7, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: changes(3) })
const recipe: fc.Arbitrary<Recipe> = fc.noBias(
  fc.record({ lane: fc.nat(15), template: fc.nat(1023), changes: some, bytes: seldom, headers: seldom }),
)

/** A message, ready to be received. */
interface Prepared {
  /** The message; `undefined` for GET and DELETE, which have none. */
  readonly bytes: Buffer | undefined
  readonly exchange: FakeExchange
  readonly receive: (kernel: Kernel) => void
  /** For people who read of a failure. */
  readonly story: string
}

describe('the kernel', () => {
  let runtime: Runtime
  let kernel: Kernel
  const sessions: Record<string, string> = {}
  const connections: Record<string, Connection> = {}
  const stray: string[] = []

  beforeAll(async () => {
    // A small store, so that what it keeps (within its bound) is not taken for a leak.
    const state = new MemoryStateStore(systemClock, { maxBytes: MEBIBYTE })
    const options = { state, resumeTtlMs: 2000, maxSubscriptions: 20, idempotencyTtlMs: 1000 }
    runtime = await createRuntime(createFixture(), { dataDir: false, logLevel: 'silent', ...options })
    kernel = internalsOf(runtime).kernel
    for (const revision of [...REVISIONS, 'doomed']) {
      const exchange = new FakeExchange({ ...BASE_HEADERS }, undefined)
      const protocolVersion = revision === 'doomed' ? '2025-11-25' : revision
      kernel.receive(exchange, Buffer.from(JSON.stringify(legacy('initialize', { protocolVersion, capabilities: {} }))))
      await exchange.over
      sessions[revision] = exchange.answerHeaders!['mcp-session-id']!
    }
    for (const name of ['modern', ...REVISIONS]) {
      const connection: Connection = {
        transport: 'memory',
        scope: `connection ${name}`,
        session: undefined,
        write: (text) => stray.push(text),
        onDropped: new Set(),
      }
      connections[name] = connection
      if (name === 'modern') continue
      const exchange = new FakeExchange(undefined, connection)
      const initialize = legacy('initialize', { protocolVersion: name, capabilities: {} })
      kernel.receive(exchange, Buffer.from(JSON.stringify(initialize)))
      await exchange.over
    }
  })
  afterAll(() => runtime.close())

  let count = 0
  /** Where streams of late could be gone on with. */
  const resumable = ['p.x.1..1', 'g.x.1.0']
  /** Cooks a recipe. Lanes are ways in: HTTP of either era, connections, and GET and DELETE. */
  function prepare({ lane, template, changes, bytes: byteChanges, headers: headerChanges }: Recipe): Prepared {
    const of = <T>(list: readonly T[]): T => list[template % list.length]!
    const revision = of(REVISIONS)
    const isConnection = lane >= 9 && lane <= 13
    const isModern = lane <= 4 || lane === 9 || lane === 10
    const source = isModern
      ? of(MODERN_TEMPLATES)
      : lane === 8 || lane === 13
        ? of(BATCH_TEMPLATES)
        : of(LEGACY_TEMPLATES)
    const message = Array.isArray(source) ? source : withFreshId(source as Json)
    const bytes = mangle(Buffer.from(mutate(message, changes)), byteChanges)
    if (isConnection) {
      const name = isModern ? 'modern' : lane === 13 ? '2025-03-26' : revision
      const exchange = new FakeExchange(undefined, connections[name])
      return {
        bytes,
        exchange,
        receive: (to) => to.receive(exchange, bytes),
        story: `connection ${name}: ${bytes.toString()}`,
      }
    }
    const session = sessions[lane === 8 ? '2025-03-26' : lane >= 14 ? of([...REVISIONS, 'doomed']) : revision]!
    const base: Record<string, string> = isModern
      ? modernHeaders((template >> 5) % 2 === 0 ? (message as Json) : asSent(bytes, message as Json))
      : { ...BASE_HEADERS, 'mcp-session-id': session }
    if (lane === 14 && template % 4 !== 0) base['last-event-id'] = of(resumable)
    const headers = mutateHeaders(base, lane >= 14 ? [...headerChanges, ...changes] : headerChanges)
    const exchange = new FakeExchange(headers, undefined, lane === 14)
    const story = `${JSON.stringify(headers)} ${bytes.toString()}`
    if (lane === 14)
      return { bytes: undefined, exchange, receive: (to) => to.openStream(exchange), story: `GET ${story}` }
    if (lane === 15) {
      // Only a session that nobody needs is ended.
      if (
        headers['mcp-session-id'] !== undefined &&
        REVISIONS.some((name) => headers['mcp-session-id'] === sessions[name])
      )
        headers['mcp-session-id'] = sessions.doomed!
      return { bytes: undefined, exchange, receive: (to) => to.endSession(exchange), story: `DELETE ${story}` }
    }
    return { bytes, exchange, receive: (to) => to.receive(exchange, bytes), story: `POST ${story}` }
  }
  /** The message as it was changed, for headers that agree with it. */
  const asSent = (bytes: Buffer, message: Json): Json => {
    const sent = parse(bytes)?.value as Partial<Json> | null | undefined
    return typeof sent?.method === 'string' ? sent : message
  }
  const withFreshId = (message: Json): Json => (message.id === undefined ? message : { ...message, id: `m${count++}` })

  /** Sends what was cooked all at once, and says what went wrong. */
  async function serve(recipes: readonly Recipe[]): Promise<string[]> {
    const prepared = recipes.map(prepare)
    for (const { receive, story } of prepared)
      try {
        receive(kernel)
      } catch (error) {
        return [`threw ${String(error)} at ${story}`]
      }
    const isInTime = await Promise.race([
      Promise.all(prepared.map(({ exchange }) => exchange.over)).then(() => true),
      new Promise<boolean>((resolve) => setTimeout(resolve, 10_000, false).unref()),
    ])
    // Whatever would answer once more does it by now.
    await new Promise((resolve) => setImmediate(resolve))
    const mayBeCancelled = prepared.some(({ bytes }) => bytes?.includes('notifications/cancelled') === true)
    for (const { exchange } of prepared) resumable.push(...exchange.eventIds)
    resumable.splice(2, resumable.length - 50)
    return prepared.flatMap(({ bytes, exchange, story }) => {
      const wrong = isInTime
        ? bytes === undefined
          ? judgeBodiless(exchange)
          : judge(bytes, exchange, mayBeCancelled)
        : []
      if (!isInTime && exchange.messages.length === 0 && exchange.status === undefined) wrong.push('no answer')
      return wrong.map((what) => `${what}\n  sent: ${story}\n  got: ${exchange.status} ${exchange.messages.join(' ')}`)
    })
  }

  it(
    `answers ${MESSAGES} mutated messages of both eras each as it should, and keeps nothing of them`,
    async () => {
      const rejections: unknown[] = []
      const onRejection = (reason: unknown): void => void rejections.push(reason)
      process.on('unhandledRejection', onRejection)
      const runs = Math.ceil(MESSAGES / MESSAGES_PER_RUN)
      let served = 0
      let warmBytes = 0
      try {
        await fc.assert(
          fc.asyncProperty(
            fc.array(recipe, { minLength: MESSAGES_PER_RUN, maxLength: MESSAGES_PER_RUN, size: 'max' }),
            async (recipes) => {
              const wrong = await serve(recipes)
              served += recipes.length
              if (served >= MESSAGES / 5 && warmBytes === 0) warmBytes = heldBytes()
              if (wrong.length > 0) throw new Error(wrong.slice(0, 3).join('\n'))
              if (rejections.length > 0) throw new Error(`an unhandled rejection: ${String(rejections)}`)
              if (Object.keys(Object.prototype).length > 0 || 'polluted' in {}) throw new Error('a polluted prototype')
            },
          ),
          // The message that went wrong is told as it was sent; made smaller step by step it would say no more.
          { numRuns: runs, endOnFailure: true },
        )
      } finally {
        process.off('unhandledRejection', onRejection)
      }
      expect(served).toBeGreaterThanOrEqual(MESSAGES)
      expect(kernel.runningCount).toBe(0)
      await expect.poll(() => kernel.openStreamCount, { timeout: 5000 }).toBe(0)
      // Sessions that were opened stay in a cache of ten thousand; a leak of each message would be ten times this.
      expect((heldBytes() - warmBytes) / MEBIBYTE).toBeLessThan(16)
      expect(stray.every((text) => JSON.parse(text) !== undefined)).toBe(true)
    },
    // A minute for each hundred thousand, several times what it takes on a quiet machine.
    60_000 + (MESSAGES / 100_000) * 180_000,
  )
})
