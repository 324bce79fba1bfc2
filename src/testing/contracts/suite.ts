/** The parts of a test runner that a contract suite needs; vitest, jest and `node:test` (with `before`/`after`) have them. */
export interface TestRunner {
  describe(name: string, body: () => void): void
  test(name: string, body: () => Promise<void>): void
  beforeEach(body: () => Promise<void>): void
  afterEach(body: () => Promise<void>): void
}
