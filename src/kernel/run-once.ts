import type { HoldfastError } from '../errors/holdfast-error.ts'
import type { Invocation, Outcome } from './invocation.ts'
import type { JsonObject } from './protocol.ts'

/** What the store keeps under a key: first a claim, then the outcome. */
interface Kept {
  digest: string
  outcome?: { members: string; meta?: JsonObject; isError?: boolean; isInputRequired?: boolean }
}

/** What is to run at most once. */
export interface Once {
  /** Key of the store; also the channel that tells of the outcome. */
  readonly key: string
  /** For the metrics. */
  readonly kind: 'idempotency_key' | 'request_state'
  /** Of all that must be equal for a repeat to be the same request. */
  readonly digest: string
  /** How long the outcome is kept. */
  readonly keepMs: number
  /** What a repeat with another digest is told. */
  readonly onOther: () => HoldfastError
  /** What happens where the store can't be asked: `undefined` runs without a claim. */
  readonly onStoreLost: () => HoldfastError | undefined
}

const CLAIM_TTL_MS = 30_000
const RENEW_MS = 10_000
const LOOK_AGAIN_MS = 2_000

/**
 * Runs something at most once per key: a repeat gets the first outcome.
 *
 * The first request claims the key, runs, and stores its outcome before it is sent. A repeat waits for that outcome (told by
 * the bus; it looks again by itself in case the bell was lost). If the first request's node is gone, the claim runs out after
 * `CLAIM_TTL_MS` without renewal, and a repeat runs. A JSON-RPC error is no outcome: the claim is dropped.
 */
export async function runOnce(
  invocation: Invocation,
  once: Once,
  run: () => Outcome | PromiseLike<Outcome>,
): Promise<Outcome> {
  const { services } = invocation
  const claim = Buffer.from(JSON.stringify({ digest: once.digest } satisfies Kept))
  const take = (): Promise<boolean> => services.state.set(once.key, claim, { ttlMs: CLAIM_TTL_MS, onlyIf: 'absent' })
  let isFirst: boolean
  try {
    isFirst = await take()
  } catch (error) {
    const refusal = once.onStoreLost()
    if (refusal === undefined) return run()
    services.telemetry.failure(invocation.operation, 'A claim could not be stored.', error)
    throw refusal
  }
  if (isFirst) return runAndKeep(invocation, once, claim, run)
  // Listen first, then look, then wait: a bell between looking and listening would be missed.
  const bell = await listenForBell(invocation, once.key)
  try {
    for (;;) {
      const [bytes] = await services.state.getMany([once.key])
      if (bytes === undefined) {
        if (await take()) return await runAndKeep(invocation, once, claim, run)
        continue
      }
      const kept = JSON.parse(Buffer.from(bytes).toString()) as Kept
      if (kept.digest !== once.digest) throw once.onOther()
      if (kept.outcome !== undefined) {
        services.telemetry.count('idempotent_replays', once.kind)
        return kept.outcome
      }
      await bell.wait()
    }
  } finally {
    await bell.close()
  }
}

async function runAndKeep(
  invocation: Invocation,
  { key, digest, keepMs }: Once,
  claim: Buffer,
  run: () => Outcome | PromiseLike<Outcome>,
): Promise<Outcome> {
  const { state, bus, clock, telemetry } = invocation.services
  const ended = new AbortController()
  const renewal = (async () => {
    while (!ended.signal.aborted) {
      await clock.sleep(RENEW_MS, ended.signal)
      await state.compareAndSet(key, claim, claim, { ttlMs: CLAIM_TTL_MS })
    }
  })().catch((error: unknown) => {
    if (!ended.signal.aborted) telemetry.failure(undefined, 'A claim could not be renewed.', error)
  })
  // What was done is done, whether or not the store can be told: the client gets its answer.
  const tell = (work: Promise<unknown>): Promise<unknown> =>
    work.catch((error: unknown) => {
      telemetry.count('degraded', 'outcome')
      telemetry.failure(invocation.operation, 'The outcome of a request could not be kept for a repeat of it.', error)
    })
  try {
    const outcome = await run()
    // A cancelled call has no outcome: its handler was told to stop.
    if (invocation.signal.aborted) await tell(state.delete([key]))
    else {
      const kept = { digest, outcome: { ...outcome, members: outcome.members.toString() } } as Kept
      await tell(state.set(key, Buffer.from(JSON.stringify(kept)), { ttlMs: keepMs }))
    }
    return outcome
  } catch (error) {
    await tell(state.delete([key]))
    throw error
  } finally {
    ended.abort()
    await renewal
    await tell(bus.publish(key, Buffer.of(1)))
  }
}

/** Hears of outcomes: `wait` resolves at the bell, or when it is time to look again anyway. */
async function listenForBell(
  { services, signal }: Invocation,
  channel: string,
): Promise<{ wait(): Promise<void>; close(): Promise<void> }> {
  let wake = new AbortController()
  const ring = (): void => wake.abort()
  const unsubscribe = await services.bus.subscribe(channel, ring, ring)
  return {
    async wait() {
      try {
        await services.clock.sleep(LOOK_AGAIN_MS, AbortSignal.any([wake.signal, signal]))
      } catch {
        signal.throwIfAborted()
      }
      wake = new AbortController()
    },
    close: unsubscribe,
  }
}
