import { createHash } from 'node:crypto'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Invocation, Outcome } from './invocation.ts'
import { idempotencyKey } from './keys.ts'
import { OWN_META, type JsonObject } from './protocol.ts'

/** What the store keeps under a key: first a claim, then the outcome. */
interface Kept {
  digest: string
  outcome?: { members: string; meta?: JsonObject; isError?: boolean }
}

/**
 * Serves a `tools/call` at most once per key: a repeated call with the same key and arguments gets the first outcome.
 *
 * The first call claims the key, runs, and stores its outcome before it is sent. A repeat waits for that outcome (told by
 * the bus; it looks again by itself in case the bell was lost). If the first call's node is gone, the claim runs out after
 * `CLAIM_TTL_MS` without renewal, and a repeat runs. A JSON-RPC error is no outcome: the claim is dropped.
 * For anonymous callers the key is a bearer secret, so short ones are refused.
 *
 * @throws {HoldfastError} `invalid_params` for a key of the wrong form, `idempotency_key_reused` for other arguments.
 */
export async function withIdempotencyKey(
  invocation: Invocation,
  key: unknown,
  tool: string,
  args: JsonObject,
  run: () => Outcome | PromiseLike<Outcome>,
): Promise<Outcome> {
  const { services, principal } = invocation
  if (typeof key !== 'string' || key.length < 16 || key.length > 255)
    throw new HoldfastError(
      'invalid_params',
      `\`_meta["${OWN_META.idempotencyKey}"]\` must be a string of 16 to 255 characters, hard to guess.`,
    )
  const owner = [principal.issuer, principal.subject, principal.tenant ?? '']
  const storeKey = idempotencyKey(sha256([...owner, tool, key]))
  // A result is rendered for a revision; another revision's client must not be given it.
  const digest = sha256([invocation.facts.revision, canonical(args)])
  const claim = Buffer.from(JSON.stringify({ digest } satisfies Kept))
  const take = (): Promise<boolean> => services.state.set(storeKey, claim, { ttlMs: CLAIM_TTL_MS, onlyIf: 'absent' })
  if (await take()) return runAndKeep(invocation, storeKey, claim, digest, run)
  // Listen first, then look, then wait: a bell between looking and listening would be missed.
  const bell = await listenForBell(invocation, storeKey)
  try {
    for (;;) {
      const [bytes] = await services.state.getMany([storeKey])
      if (bytes === undefined) {
        if (await take()) return await runAndKeep(invocation, storeKey, claim, digest, run)
        continue
      }
      const kept = JSON.parse(Buffer.from(bytes).toString()) as Kept
      if (kept.digest !== digest)
        throw new HoldfastError(
          'idempotency_key_reused',
          'This idempotency key was used with other arguments (or in another protocol revision). Use a new key for a new call.',
        )
      if (kept.outcome !== undefined) {
        services.telemetry.count('idempotent_replays')
        return kept.outcome
      }
      await bell.wait()
    }
  } finally {
    await bell.close()
  }
}

const CLAIM_TTL_MS = 30_000
const RENEW_MS = 10_000
const LOOK_AGAIN_MS = 2_000

async function runAndKeep(
  { services, signal }: Invocation,
  storeKey: string,
  claim: Buffer,
  digest: string,
  run: () => Outcome | PromiseLike<Outcome>,
): Promise<Outcome> {
  const { state, bus, clock, telemetry, options } = services
  const ended = new AbortController()
  const renewal = (async () => {
    while (!ended.signal.aborted) {
      await clock.sleep(RENEW_MS, ended.signal)
      await state.compareAndSet(storeKey, claim, claim, { ttlMs: CLAIM_TTL_MS })
    }
  })().catch((error: unknown) => {
    if (!ended.signal.aborted)
      telemetry.failure(undefined, 'The claim of an idempotency key could not be renewed.', error)
  })
  try {
    const outcome = await run()
    // A cancelled call has no outcome: its handler was told to stop.
    if (signal.aborted) await state.delete([storeKey])
    else {
      const kept: Kept = {
        digest,
        outcome: { ...outcome, members: outcome.members.toString() } as NonNullable<Kept['outcome']>,
      }
      await state.set(storeKey, Buffer.from(JSON.stringify(kept)), { ttlMs: options.idempotencyTtlMs })
    }
    return outcome
  } catch (error) {
    await state.delete([storeKey])
    throw error
  } finally {
    ended.abort()
    await renewal
    await bus.publish(storeKey, Buffer.of(1))
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

const sha256 = (parts: readonly string[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('base64url')

/** JSON with sorted keys, so that equal arguments have equal digests. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}
