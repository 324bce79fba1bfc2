import { randomBytes } from 'node:crypto'
import type { HoldfastError } from '../errors/holdfast-error.ts'
import type { Invocation, Outcome } from './invocation.ts'

/** What the store keeps under a key: first a claim, then the outcome. */
interface Kept {
  digest: string
  /** Of the run that holds the claim: no two claims are the same bytes. */
  holder?: string
  /** The run has ended without an outcome: who comes next runs. */
  isDropped?: boolean
  outcome?: Omit<Outcome, 'members'> & { members: string }
}

/** What is to run at most once. */
export interface Once {
  /** Key of the store; also the channel that tells of the outcome. */
  readonly key: string
  /** For the metrics. */
  readonly kind: 'idempotency_key' | 'request_state'
  /** Of all that must be equal for a repeat to be the same request. */
  readonly digest: string
  /** How long an outcome is kept. */
  readonly keepMs: (outcome: Outcome) => number
  /** What a repeat with another digest is told. */
  readonly onOther: () => HoldfastError
  /** What happens where the store can't be asked: `undefined` runs without a claim. */
  readonly onStoreLost: () => HoldfastError | undefined
}

type Run = () => Outcome | PromiseLike<Outcome>

const CLAIM_TTL_MS = 30_000
const RENEW_MS = 10_000
const LOOK_AGAIN_MS = 2_000
/** Between two attempts to take a claim back; it doubles. */
const TAKE_BACK_MS = 250
const LONGEST_TAKE_BACK_MS = 4_000
/** Claims that this process tries to take back at once; further ones run out by themselves. */
const MAX_TAKEN_BACK = 1000

/**
 * Runs something at most once per key: a repeat gets the first outcome.
 *
 * The first request claims the key, runs, and stores its outcome before it is sent. A repeat waits for that outcome (told by
 * the bus; it looks again by itself in case the bell was lost). If the first request's node is gone, the claim runs out after
 * `CLAIM_TTL_MS` without renewal, and a repeat runs.
 *
 * 1. Every write after the first compares: a node that stood still past its claim finds the outcome or the claim of another,
 *    and gives what that one came to. So there is one outcome, even where there were two runs.
 * 2. A JSON-RPC error is no outcome, nor is the error result of a handler whose client had gone: it was told to stop.
 */
export async function runOnce(invocation: Invocation, once: Once, run: Run): Promise<Outcome> {
  const { services } = invocation
  const claim = toBytes({ digest: once.digest, holder: randomBytes(9).toString('base64url') })
  let isFirst: boolean
  try {
    isFirst = await services.state.set(once.key, claim, { ttlMs: CLAIM_TTL_MS, onlyIf: 'absent' })
  } catch (error) {
    void takeBack(invocation, once, claim)
    const refusal = once.onStoreLost()
    if (refusal === undefined) return run()
    services.telemetry.failure(invocation.operation, 'A claim could not be stored.', error)
    throw refusal
  }
  if (!isFirst) {
    const found = await waitOrTake(invocation, once, claim, CLAIM_TTL_MS)
    if (found === 'other') throw once.onOther()
    if (found !== 'taken') return found
  }
  return runAndKeep(invocation, once, claim, run)
}

const toBytes = (kept: Kept): Buffer => Buffer.from(JSON.stringify(kept))
const toKept = (bytes: Uint8Array): Kept => JSON.parse(Buffer.from(bytes).toString()) as Kept
const toOutcomeBytes = (digest: string, outcome: Outcome): Buffer =>
  toBytes({ digest, outcome: { ...outcome, members: outcome.members.toString() } as Kept['outcome'] & object })

/**
 * Waits for the outcome of another run. Where there is no other run any more, `value` takes the place, for `ttlMs`
 * (`taken`); `other`: the key is that of another request.
 */
async function waitOrTake(
  invocation: Invocation,
  { key, digest, kind }: Once,
  value: Buffer,
  ttlMs: number,
): Promise<Outcome | 'taken' | 'other'> {
  const { state, telemetry } = invocation.services
  // Listen first, then look, then wait: a bell between looking and listening would be missed.
  const bell = await listenForBell(invocation, key)
  try {
    for (;;) {
      const [bytes] = await state.getMany([key])
      const kept = bytes && toKept(bytes)
      if (kept === undefined || kept.isDropped === true) {
        if (await state.compareAndSet(key, bytes, value, { ttlMs })) return 'taken'
        continue
      }
      if (kept.digest !== digest) return 'other'
      if (kept.outcome !== undefined) {
        telemetry.count('idempotent_replays', kind)
        return kept.outcome
      }
      await bell.wait()
    }
  } finally {
    await bell.close()
  }
}

async function runAndKeep(invocation: Invocation, once: Once, claim: Buffer, run: Run): Promise<Outcome> {
  const { key, digest, keepMs } = once
  const { state, bus } = invocation.services
  const ended = new AbortController()
  const renewal = renew(invocation, key, claim, ended.signal)
  try {
    const outcome = await run()
    if (invocation.isDone && outcome.isError === true) {
      await told(invocation, drop(invocation, once, claim))
      return outcome
    }
    const bytes = toOutcomeBytes(digest, outcome)
    const ttlMs = keepMs(outcome)
    const found = await told(invocation, state.compareAndSet(key, claim, bytes, { ttlMs }))
    if (found !== false || invocation.isDone) return outcome
    // The claim had run out while this node stood still.
    const other = await told(invocation, waitOrTake(invocation, once, bytes, ttlMs))
    if (other === 'other') throw once.onOther()
    return other === undefined || other === 'taken' ? outcome : other
  } catch (error) {
    await told(invocation, drop(invocation, once, claim))
    throw error
  } finally {
    ended.abort()
    await renewal
    await told(invocation, bus.publish(key, Buffer.of(1)))
  }
}

let takenBack = 0

/**
 * The store did not say whether it has the claim of a run that will not be. It may have it, or get it yet: whoever repeats the
 * request would wait for a run that nobody makes until the claim runs out.
 */
async function takeBack(invocation: Invocation, once: Once, claim: Buffer): Promise<void> {
  if (takenBack >= MAX_TAKEN_BACK) return
  takenBack++
  const { clock, bus } = invocation.services
  const untilMs = clock.monotonic() + CLAIM_TTL_MS
  for (let attempt = 0; clock.monotonic() < untilMs; attempt++) {
    // With jitter: an outage of the store leaves many of these.
    await clock.sleep(Math.min(LONGEST_TAKE_BACK_MS, TAKE_BACK_MS * 2 ** attempt) * (0.5 + Math.random() / 2))
    try {
      if (await drop(invocation, once, claim)) await bus.publish(once.key, Buffer.of(1))
      break
    } catch (error) {
      if ((error as { code?: unknown }).code === 'closed') break
      // The store is still away: tried again.
    }
  }
  takenBack--
}

/** Gives a claim back, if it is still there: whoever waits, runs. */
function drop({ services }: Invocation, { key, digest }: Once, claim: Buffer): Promise<boolean> {
  return services.state.compareAndSet(key, claim, toBytes({ digest, isDropped: true }), { ttlMs: CLAIM_TTL_MS })
}

/** Holds a claim until `ended`. A renewal that fails is tried again: the claim outlasts two of them. */
async function renew({ services }: Invocation, key: string, claim: Buffer, ended: AbortSignal): Promise<void> {
  const { clock, state, telemetry } = services
  for (;;) {
    try {
      await clock.sleep(RENEW_MS, ended)
    } catch {
      return // ended
    }
    try {
      if (!(await state.compareAndSet(key, claim, claim, { ttlMs: CLAIM_TTL_MS }))) return // lost
    } catch (error) {
      telemetry.failure(undefined, 'A claim could not be renewed.', error)
    }
  }
}

/** What was done is done, whether or not the store can be told: the client gets its answer. */
function told<T>({ services, operation }: Invocation, work: Promise<T>): Promise<T | undefined> {
  return work.catch((error: unknown) => {
    services.telemetry.count('degraded', 'outcome')
    services.telemetry.failure(operation, 'The outcome of a request could not be kept for a repeat of it.', error)
    return undefined
  })
}

/**
 * A later leg of a call that has an idempotency key came to an outcome: it takes the place of the question that was kept for
 * repeats of the first leg, so that they go on from there, or get the result.
 */
export function keepForCall(
  invocation: Invocation,
  [key, digest]: readonly [key: string, digest: string],
  outcome: Outcome,
): Promise<unknown> {
  const { state, options } = invocation.services
  const put = async (): Promise<void> => {
    const [bytes] = await state.getMany([key])
    const kept = bytes && toKept(bytes)
    if (kept?.digest !== digest || kept.outcome?.resultType !== 'input_required') return
    const ttlMs = outcome.resultType === 'input_required' ? options.questionTtlMs : options.idempotencyTtlMs
    await state.compareAndSet(key, bytes, toOutcomeBytes(digest, outcome), { ttlMs })
  }
  return told(invocation, put())
}

/** Hears of outcomes: `wait` resolves at the bell, or when it is time to look again anyway. */
async function listenForBell(
  { services, signal }: Invocation,
  channel: string,
): Promise<{ wait(): Promise<void>; close(): Promise<void> }> {
  let wake = new AbortController()
  const ring = (): void => wake.abort()
  const unsubscribe = await services.bus.subscribe(channel, ring, ring).catch(() => {
    services.telemetry.count('degraded', 'bell')
    return () => Promise.resolve()
  })
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
