import { describe, expect, test } from 'vitest'
import { HoldfastError } from '../../src/index.ts'

/** A mistake, and what its error says: where it is, what it is (with the value), and what to do about it. */
export type Mistake = readonly [what: string, make: () => unknown, where: RegExp, problem: RegExp, remedy: RegExp]

/** Tests that each mistake in a definition of one kind is refused when the definition is made, in words that help. */
export function refused(kind: string, mistakes: readonly Mistake[]): void {
  describe(kind, () => {
    test.each(mistakes)(
      'with %s is refused, with what, where, and the remedy',
      (_what, make, where, problem, remedy) => {
        const error = thrownBy(make)
        expect(error).toBeInstanceOf(HoldfastError)
        const { code, message } = error as HoldfastError
        expect(code).toBe('invalid_definition')
        expect(message).toMatch(where)
        expect(message).toMatch(problem)
        expect(message).toMatch(remedy)
        expect(message.length).toBeLessThan(600)
        expect(message).toMatch(/\.$|…$|\}\)\.?$/)
      },
    )
  })
}

function thrownBy(make: () => unknown): unknown {
  try {
    make()
  } catch (error) {
    return error
  }
  throw new Error('Nothing was thrown.')
}
