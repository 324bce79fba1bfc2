import { randomBytes } from 'node:crypto'
import { openRedis, type RedisBackends } from '../backends/redis/open.ts'
import { isRedisUrl, parseRedisUrl } from '../backends/redis/url.ts'
import { withOptions } from '../backends/url/url.ts'
import { schemeOf } from '../compose/backends.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import {
  eventBusContract,
  eventBusFaultContract,
  stateStoreContract,
  stateStoreFaultContract,
  type EventBusFixture,
  type StateStoreFixture,
} from '../testing/index.ts'
import { runContracts, type TestOutcome } from './contract-runner.ts'
import { artifactsVerificationOf } from './verify-artifacts.ts'
import { verificationOf, type Verification } from './verify-tasks.ts'

/**
 * `holdfast verify-backend`: runs the public contract suites against a running server, in a namespace of its own.
 * @returns whether every test passed.
 * @throws {HoldfastError} `invalid_option` for a URL that can't be used, `backend_failed` where nothing answers.
 */
export async function verifyBackend(url: string, flags: { json?: boolean }): Promise<boolean> {
  await using verification = (await verificationOf(url)) ?? (await artifactsVerificationOf(url)) ?? (await ofRedis(url))
  const print = (line: object, text: string): void =>
    void process.stdout.write(`${flags.json === true ? JSON.stringify(line) : text}\n`)
  let suite = ''
  const report = (outcome: TestOutcome): void => {
    if (flags.json !== true && outcome.suite !== suite) process.stdout.write(`${(suite = outcome.suite)}\n`)
    const { ok, test, durationMs, error } = outcome
    print(outcome, `  ${ok ? 'ok  ' : 'FAIL'}  ${test} (${durationMs} ms)${ok ? '' : `\n        ${error}`}`)
  }
  const counts = await runContracts((runner) => verification.declare(runner), report)
  print(counts, `${counts.passed} passed, ${counts.failed} failed`)
  return counts.failed === 0
}

/** A prefix of its own. Nothing is removed: what is left expires. */
async function ofRedis(url: string): Promise<Verification> {
  if (!isRedisUrl(url))
    throw new HoldfastError(
      'invalid_option',
      `The URL has the scheme ${JSON.stringify(schemeOf(url))}; there are redis://, rediss://, redis+sentinel:// and redis+cluster:// (state), sqlite:, postgres:// and dynamodb:// (tasks), amqp://, amqps://, kafka://, kafkas:// and sqs:// (queues), file: and s3:// (artifacts).`,
    )
  const { shown } = parseRedisUrl(url)
  const throwaway = withOptions(url, { prefix: `holdfast-verify-${randomBytes(4).toString('hex')}:` })
  const open = async (): Promise<RedisBackends> => {
    let failure: Error | undefined
    const opened = await openRedis(throwaway, { onUp() {}, onDown: (error) => (failure = error) })
    if (failure === undefined) return opened
    await Promise.all([opened.state.close(), opened.bus.close()])
    throw new HoldfastError('backend_failed', `Nothing answers at ${shown}: ${failure.message}`, { cause: failure })
  }
  const store = async (): Promise<StateStoreFixture> => {
    const { state, bus } = await open()
    await bus.close()
    return { store: state, pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)) }
  }
  const buses = async (): Promise<EventBusFixture> => {
    const [here, there] = await Promise.all([open(), open()])
    await Promise.all([here.state.close(), there.state.close()])
    return { here: here.bus, there: there.bus }
  }
  // Whether there is anything to test.
  await (await store()).store.close()
  return {
    declare(runner) {
      stateStoreContract(runner, shown, store)
      stateStoreFaultContract(runner, shown, store)
      eventBusContract(runner, shown, buses)
      eventBusFaultContract(runner, shown, buses)
    },
    async [Symbol.asyncDispose]() {},
  }
}
