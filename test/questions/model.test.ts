import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as z from 'zod'
import { defineServer, defineTool } from '../../src/index.ts'
import { callModern, LegacyClient, Nodes, textOf, type Answered, type Json, type Node } from './nodes.ts'
import { answerOf, execute, fails, model, programs, type Program } from './programs.ts'

// Random handlers come to the same end as straight-line code with its answers at hand: through legs of 2026-07-28, whatever
// becomes of replies on their way, and through questions of a 2025 session.

interface Case {
  readonly program: Program
  readonly effects: Map<string, number>
  /** What a handler did after it had been put aside. */
  afterwards: number
}
const cases = new Map<string, Case>()

const server = defineServer({
  name: 'model',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'run',
      description: 'Runs a program',
      input: z.object({ id: z.string() }),
      run({ id }, ctx) {
        const one = cases.get(id)!
        const { signal } = ctx
        const onMove = (): void => {
          if (signal.aborted && (signal.reason as { code?: string }).code === 'suspended') one.afterwards++
        }
        return execute(one.program, { ctx, effects: one.effects, onMove })
      },
    }),
  ],
})

let nodes: Nodes
let both: Node[]
beforeAll(async () => {
  nodes = new Nodes(server)
  both = [await nodes.start(), await nodes.start()]
})
afterAll(() => nodes.close())

function begin(program: Program): { id: string; one: Case } {
  const id = `case-${cases.size}-that-is-hard-to-guess`
  const one: Case = { program, effects: new Map(), afterwards: 0 }
  cases.set(id, one)
  return { id, one }
}

/** What becomes of one leg: where it goes, which answers it lacks, and how often, and how, it is sent. */
const legs = fc.record({
  node: fc.boolean(),
  /** Answers are left out where the name's turn comes; every third leg brings all of them. */
  lacks: fc.nat({ max: 3 }),
  sent: fc.constantFrom('once', 'once', 'twice', 'at once twice', 'lost and again'),
})
type LegPlan = typeof legs extends fc.Arbitrary<infer T> ? T : never

async function send(
  plan: LegPlan,
  mayLose: boolean,
  request: (node: Node, signal?: AbortSignal) => Promise<Answered>,
): Promise<Answered> {
  const [here, there] = (plan.node ? both : both.toReversed()) as [Node, Node]
  switch (plan.sent) {
    case 'twice': {
      const first = await request(here)
      expect((await request(there)).result).toEqual(first.result)
      return first
    }
    case 'at once twice': {
      const [first, second] = await Promise.all([request(here), request(there)])
      expect(second.result).toEqual(first.result)
      return first
    }
    case 'lost and again':
      if (mayLose) {
        const gone = new AbortController()
        const lost = request(here, gone.signal)
        setTimeout(() => gone.abort(), plan.lacks)
        await lost.catch((error: unknown) => expect((error as Error).name).toBe('AbortError'))
      }
      return request(there)
    default:
      return request(here)
  }
}

test('at 2026-07-28, leg by leg, over two nodes', { timeout: 120_000 }, async () => {
  let together = 0
  let rounds = 0
  await fc.assert(
    fc.asyncProperty(programs, fc.array(legs, { minLength: 1, maxLength: 6 }), async (program, plans) => {
      const { id, one } = begin(program)
      const known = new Set<string>()
      // A handler that failed after its client had gone has no outcome: the leg runs again, and its steps with it.
      const mayLose = !fails(program)
      let leg: Json = {}
      for (let round = 0; ; round++) {
        const plan = plans[round % plans.length]!
        const meta = { 'dev.holdfast/idempotencyKey': id }
        const answer = await send(plan, mayLose, (node, signal) =>
          callModern(node, 'run', { id }, leg, { meta, ...(signal === undefined ? {} : { signal }) }),
        )
        const expected = await model(program, known)
        if ('end' in expected) {
          expect(textOf(answer)).toBe(expected.end)
          break
        }
        // Each round asks all that can be asked by then, and nothing that was answered.
        const names = Object.keys(answer.result?.inputRequests ?? {})
        expect(new Set(names)).toEqual(expected.asks)
        const given = names.filter(
          (_name, index) => round % 3 === 2 || plan.lacks === 0 || index % 4 !== plan.lacks - 1,
        )
        for (const name of given) known.add(name)
        if (names.length > 1) together++
        rounds++
        const inputResponses = Object.fromEntries(given.map((name) => [name, answerOf(name)]))
        leg = { requestState: answer.result!.requestState, inputResponses }
      }
      for (const [name, count] of one.effects) expect(count, name).toBe(1)
      await new Promise((resolve) => setImmediate(resolve))
      expect(one.afterwards).toBe(0)
    }),
    { numRuns: 120 },
  )
  // The programs do ask, more than once, and several things at once.
  expect(rounds).toBeGreaterThan(30)
  expect(together).toBeGreaterThan(0)
})

test('in a 2025 session, with answers to either node', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(programs, fc.array(fc.boolean(), { minLength: 1, maxLength: 6 }), async (program, turns) => {
      const { id, one } = begin(program)
      const client = await LegacyClient.open(both[0]!)
      const stream = await client.call(both[turns[0] === true ? 0 : 1]!, 'run', { id })
      const answers: Promise<number>[] = []
      for (;;) {
        const message = await stream.next()
        if (message.method === undefined) {
          const end = await model(program, { has: () => true } as unknown as ReadonlySet<string>)
          expect(message.result!.content![0]!.text).toBe((end as { end: string }).end)
          break
        }
        const node = both[turns[answers.length % turns.length] === true ? 0 : 1]!
        answers.push(client.answer(node, message.id, { result: answerOf(message.params!.message as string) }))
      }
      expect((await Promise.all(answers)).every((status) => status === 202)).toBe(true)
      for (const [name, count] of one.effects) expect(count, name).toBe(1)
    }),
    { numRuns: 60 },
  )
})
