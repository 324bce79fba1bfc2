import fc from 'fast-check'
import * as z from 'zod'
import { toolError, type Context } from '../../src/index.ts'
import type { Json } from './nodes.ts'

/** A handler as data: straight-line code of steps and questions. */
export type Program =
  | { kind: 'step'; name: string; turns: number }
  | { kind: 'failing-step'; name: string }
  | { kind: 'ask'; name: string; turns: number }
  | { kind: 'branch'; name: string; yes: Program; no: Program }
  | { kind: 'sequence' | 'all'; parts: Program[] }
  | { kind: 'loop'; times: number; body: Program }
  | { kind: 'fail' }

const turns = fc.nat({ max: 3 })
const leaf = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('step' as const), name: fc.constant(''), turns }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('ask' as const), name: fc.constant(''), turns }) },
  { weight: 1, arbitrary: fc.constant<Program>({ kind: 'failing-step', name: '' }) },
)
const { program } = fc.letrec<{ program: Program }>((tie) => ({
  program: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    leaf,
    fc.record({
      kind: fc.constantFrom('sequence' as const, 'all' as const),
      parts: fc.array(tie('program'), { minLength: 1, maxLength: 4 }),
    }),
    fc.record({ kind: fc.constant('loop' as const), times: fc.integer({ min: 1, max: 3 }), body: tie('program') }),
    fc.record({
      kind: fc.constant('branch' as const),
      name: fc.constant(''),
      yes: tie('program'),
      no: tie('program'),
    }),
  ),
}))

/** Gives each step and question a name of its own. */
function named(part: Program, path: string): Program {
  switch (part.kind) {
    case 'sequence':
    case 'all':
      return { ...part, parts: part.parts.map((one, index) => named(one, `${path}.${index}`)) }
    case 'loop':
      return { ...part, body: named(part.body, `${path}.l`) }
    case 'branch':
      return { ...part, name: path, yes: named(part.yes, `${path}.y`), no: named(part.no, `${path}.n`) }
    case 'fail':
      return part
    default:
      return { ...part, name: path }
  }
}

/** Random handlers; some fail in the end. */
export const programs: fc.Arbitrary<Program> = fc
  .tuple(program, fc.integer({ min: 0, max: 9 }))
  .map(([body, chance]) => named(chance === 0 ? { kind: 'sequence', parts: [body, { kind: 'fail' }] } : body, 'p'))

export const fails = (part: Program): boolean => part.kind === 'sequence' && part.parts.at(-1)?.kind === 'fail'

const FORM = z.object({ value: z.int() })

/** What the user answers: always the same to the same question. */
export function answerOf(name: string): Json {
  let sum = 0
  for (const character of name) sum = (sum * 31 + character.charCodeAt(0)) % 1009
  return sum % 5 === 0 ? { action: 'decline' } : { action: 'accept', content: { value: sum } }
}

/** What of `ctx` programs use. */
export type Asking = Pick<Context, 'step' | 'elicit'>

/** One run of a program. */
export interface Run {
  readonly ctx: Asking
  /** How often the effect of each step was had. */
  readonly effects: Map<string, number>
  /** Called before each thing that the handler does. */
  onMove(): void
}

const wait = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await Promise.resolve()
}

/** Runs a program as a handler would be written; resolves to all that it saw. */
export async function execute(part: Program, run: Run, suffix = ''): Promise<string> {
  run.onMove()
  switch (part.kind) {
    case 'step': {
      await wait(part.turns)
      const name = part.name + suffix
      const value = await run.ctx.step(name, async () => {
        run.onMove()
        // Some take longer than the microtasks of a turn.
        for (let turn = 0; turn < part.turns; turn++) await new Promise((resolve) => setImmediate(resolve))
        const count = (run.effects.get(name) ?? 0) + 1
        run.effects.set(name, count)
        return { name, count }
      })
      run.onMove()
      return `${value.name}#${value.count}`
    }
    case 'failing-step':
      try {
        return await run.ctx.step(part.name + suffix, () => Promise.reject(new Error('no')))
      } catch (error) {
        return (error as Error).message
      }
    case 'ask':
      await wait(part.turns)
      return String(await ask(part.name + suffix, run))
    case 'branch': {
      const value = await ask(part.name + suffix, run)
      return value !== undefined && value % 2 === 0 ? execute(part.yes, run, suffix) : execute(part.no, run, suffix)
    }
    case 'sequence': {
      const seen: string[] = []
      for (const one of part.parts) seen.push(await execute(one, run, suffix))
      return `(${seen.join(' ')})`
    }
    case 'all':
      return `[${(await Promise.all(part.parts.map((one) => execute(one, run, suffix)))).join(' ')}]`
    case 'loop': {
      const seen: string[] = []
      for (let index = 0; index < part.times; index++) seen.push(await execute(part.body, run, `${suffix}-${index}`))
      return `{${seen.join(' ')}}`
    }
    default:
      throw toolError('It failed.')
  }
}

async function ask(name: string, run: Run): Promise<number | undefined> {
  const { content } = await run.ctx.elicit(name, { message: name, schema: FORM })
  run.onMove()
  return content?.value
}

/**
 * The model: runs a program with the answers that are known, and nothing kept but them. Resolves to its end, or to what it
 * waits for once it can't go on.
 */
export async function model(
  part: Program,
  known: ReadonlySet<string>,
): Promise<{ end: string } | { asks: ReadonlySet<string> }> {
  const asks = new Set<string>()
  let steps = 0
  const ctx = {
    step: async (_name: string, fn: () => unknown) => {
      steps++
      try {
        return await fn()
      } finally {
        steps--
      }
    },
    elicit: async (name: string) => {
      if (known.has(name)) return answerOf(name)
      asks.add(name)
      return new Promise(() => undefined)
    },
  } as unknown as Asking
  const end = execute(part, { ctx, effects: new Map(), onMove: () => undefined }).then(
    (seen) => seen,
    (error: unknown) => (error as Error).message,
  )
  const stuck = async (): Promise<undefined> => {
    for (let quiet = 0; quiet < 2; quiet = steps === 0 ? quiet + 1 : 0)
      await new Promise((resolve) => setImmediate(resolve))
  }
  const seen = await Promise.race([end, stuck()])
  return seen === undefined ? { asks } : { end: seen }
}
