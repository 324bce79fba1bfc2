/** The policies of cockatiel that Holdfast's guard has, in the same order: retry, breaker, bulkhead, timeout. */
import {
  bulkhead,
  circuitBreaker,
  ExponentialBackoff,
  handleAll,
  retry,
  SamplingBreaker,
  timeout,
  TimeoutStrategy,
  wrap,
} from 'cockatiel'

export function policies() {
  const policy = wrap(
    retry(handleAll, { maxAttempts: 2, backoff: new ExponentialBackoff() }),
    circuitBreaker(handleAll, {
      halfOpenAfter: 5000,
      breaker: new SamplingBreaker({ threshold: 0.5, duration: 10_000 }),
    }),
    bulkhead(50, 50),
    timeout(10_000, TimeoutStrategy.Cooperative),
  )
  return (work, signal) => policy.execute(({ signal: inner }) => work(inner), signal)
}
