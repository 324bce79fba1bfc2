import { tagsProblem } from '../define/cache.ts'
import { HoldfastError, stateUnavailable } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import type { EventBus } from '../ports/event-bus.ts'
import type { StateStore } from '../ports/state-store.ts'
import type { CacheEvent, Telemetry } from '../ports/telemetry.ts'
import type { Cache, CacheCaller, CacheEntry, CacheSlot, Compute, Found } from './cache.ts'
import type { Codec } from './codec.ts'
import { Computing, type Landing } from './computing.ts'
import { OVERDUE, type Flight } from './flight.ts'
import { Flights } from './flights.ts'
import { Generations } from './generations.ts'
import { MemoryTier, toFound, type Held } from './held.ts'
import { Leadership, type Lead } from './leadership.ts'
import { CacheMessages, type CacheMessage } from './messages.ts'
import { CacheRequest } from './request.ts'
import { StoreTier, type Seen } from './store-tier.ts'

/** What a {@link TieredCache} works with. */
export interface TieredCacheParts {
  /** Name of the server: others that share the store have caches of their own. */
  readonly server: string
  readonly clock: Clock
  readonly telemetry: Pick<Telemetry, 'cached' | 'count' | 'failure'>
  /** Of values in memory. */
  readonly maxBytes: number
  /** What nodes share; `undefined`: this process is alone. */
  readonly shared: { readonly state: StateStore; readonly bus: EventBus } | undefined
}

/** How often a caller waits for a flight: one that was overdue, or whose beginner has gone, is followed by another. */
const MAX_ROUNDS = 3
/** Values that are computed anew in the background at once; beyond, what is stale stays so for a while. */
const MAX_REFRESHES = 100
/** How a flight goes. */
interface Way {
  /** It may wait for another node. */
  readonly mayFollow: boolean
  /** Nobody waits for it: it makes something fresh of what is stale. */
  readonly isBackground: boolean
}
const REFRESHING: Way = { mayFollow: true, isBackground: true }

/**
 * Values in two tiers: the memory of this process, and the store that nodes share.
 *
 * What a caller goes through, until there is a value: memory → store → flight. A flight is one computing on this node, for all
 * who want it here; on its way it takes the lead among the nodes, or waits for the one that has it.
 *
 * 1. A value is served only while the generations of its tags are those that were read before it was computed, and that were
 *    present at some time since the caller asked (or, with `staleMs`, at most so long before).
 * 2. A caller joins a flight only where it has seen the generations that the flight computes for.
 * 3. A value is in the store before the bell that tells of it.
 * 4. Without the store, memory and flights go on. A value with tags that can't be checked is not served, and one that is computed
 *    then is not kept.
 */
export class TieredCache implements Cache {
  readonly #parts: TieredCacheParts
  readonly #memory: MemoryTier
  readonly #generations: Generations
  readonly #computing: Computing
  readonly #store: StoreTier | undefined
  readonly #leadership: Leadership | undefined
  readonly #flights: Flights<Landing<unknown>>
  readonly #messages: CacheMessages | undefined
  readonly #writes = new Set<Promise<void>>()

  constructor(parts: TieredCacheParts) {
    const { shared, clock, maxBytes } = parts
    this.#parts = parts
    this.#memory = new MemoryTier(maxBytes)
    this.#flights = new Flights(clock)
    this.#generations = new Generations(shared?.state, clock)
    this.#computing = new Computing({ ...parts, memory: this.#memory, generations: this.#generations })
    if (shared === undefined) return
    const { state, bus } = shared
    const onAway = (error: unknown): void => this.#onAway(error)
    this.#store = new StoreTier({ state, clock, memory: this.#memory, generations: this.#generations, onAway })
    const messages = new CacheMessages({
      bus,
      clock,
      onMessage: (message) => this.#hear(message),
      onGap: () => {
        this.#generations.forgetAll()
        this.#leadership!.hearAll()
      },
      onAway,
    })
    this.#messages = messages
    this.#leadership = new Leadership({
      state,
      clock,
      ring: (flight) => void messages.tell(['landed', flight]),
      onError: onAway,
    })
  }

  /** What is in memory, for the metrics. */
  get memory(): Pick<MemoryTier, 'bytes' | 'count' | 'evictions'> {
    return this.#memory
  }

  /** Listens for what other nodes invalidate. */
  async start(): Promise<void> {
    await this.#messages?.start()
  }

  /** Ends what goes on in the background; resolves when everything that was computed is stored. */
  async close(): Promise<void> {
    await this.#messages?.close()
    this.#flights.abortBackground(new HoldfastError('closed', 'The cache was closed.'))
    while (this.#writes.size > 0) await Promise.all(this.#writes)
    this.#memory.clear()
  }

  hit<T>(entry: CacheEntry, compute: Compute<T>, codec: Codec<T>): Found<T> | undefined {
    return this.#fromMemory(this.#toRequest(entry, compute, codec))
  }

  async through<T>(entry: CacheEntry, compute: Compute<T>, codec: Codec<T>, caller?: CacheCaller): Promise<Found<T>> {
    const request = this.#toRequest(entry, compute, codec)
    const found = this.#fromMemory(request)
    if (found !== undefined) return found
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const seen = await this.#see(request)
      const answer = seen.held && this.#serve(request, seen.held, 'store')
      if (answer !== undefined) return answer
      const key = this.#flightKey(request, seen.generations)
      let flight = this.#flights.get(key) as Flight<Landing<T>> | undefined
      const isOwner = flight === undefined
      flight ??= this.#launch(key, request, seen, { mayFollow: round === 0, isBackground: false })
      let landing: Landing<T> | typeof OVERDUE
      try {
        landing = await flight.wait(caller?.signal, isOwner)
      } catch (error) {
        // Its beginner has gone, and may have taken with it what the computing needs.
        if (!isOwner && flight.hasOwnerLeft && caller?.signal.aborted !== true) continue
        this.#count(entry, 'failed')
        throw error
      }
      if (landing === OVERDUE) {
        this.#flights.forget(key, flight)
        continue
      }
      if (landing.own !== undefined && !isOwner) break
      const { held, from } = landing
      // It may be stale, and then is to be computed anew.
      const served = from === 'store' && held !== undefined ? this.#serve(request, held, from) : undefined
      return served ?? this.#land(request, landing, isOwner)
    }
    const value = await compute(caller?.signal ?? new AbortController().signal)
    this.#count(entry, 'unled')
    return { value, from: 'computed', freshForMs: 0 }
  }

  async lookup<T>(entries: readonly CacheEntry[], codec: Codec<T>): Promise<CacheSlot<T>[]> {
    const { clock } = this.#parts
    const nothing = (): never => {
      throw new Error('A lookup computes nothing.')
    }
    const requests = entries.map((entry) => this.#toRequest(entry, nothing, codec))
    const seen = new Map<CacheRequest<T>, Seen>()
    for (const request of requests) {
      const held = this.#heldInMemory(request)
      if (held !== undefined && clock.now() < held.freshUntilMs)
        seen.set(request, { generations: held.generations, held })
    }
    const fromMemory = new Set(seen.keys())
    const missing = requests.filter((request) => !seen.has(request))
    const looked = missing.length === 0 ? [] : await this.#seeMany(missing)
    for (const [index, request] of missing.entries()) seen.set(request, looked[index]!)
    return requests.map((request): CacheSlot<T> => {
      const { held, generations } = seen.get(request)!
      const nowMs = clock.now()
      const isFresh = held !== undefined && !held.isThrown && nowMs < held.freshUntilMs
      const from = fromMemory.has(request) ? 'memory' : 'store'
      this.#count(request.entry, isFresh ? from : 'missed')
      return {
        found: isFresh ? toFound(held, codec, from, nowMs) : undefined,
        store: (value) => this.#keep(request, this.#computing.toHeld(request, value, generations), true),
      }
    })
  }

  async invalidate(tags: readonly string[]): Promise<void> {
    const problem = tagsProblem(tags) ?? (tags.length === 0 ? '`tags` is empty.' : undefined)
    if (problem !== undefined) throw new HoldfastError('invalid_cache', `Nothing was invalidated: ${problem}`)
    const { shared, server } = this.#parts
    const keys = Generations.keysOf(server, tags)
    this.#generations.forget(keys)
    if (shared === undefined) return
    try {
      await shared.state.delete(keys)
    } catch (error) {
      this.#onAway(error)
      throw stateUnavailable(error)
    } finally {
      // What was read while the store was told.
      this.#generations.forget(keys)
    }
    await this.#messages!.tell(['invalidated', ...keys])
  }

  #toRequest<T>(entry: CacheEntry, compute: Compute<T>, codec: Codec<T>): CacheRequest<T> {
    return new CacheRequest(this.#parts.server, entry, codec, compute)
  }

  #heldInMemory<T>(request: CacheRequest<T>): Held | undefined {
    const held = this.#memory.get(request.text)
    if (held === undefined) return undefined
    return held.generations === this.#generations.known(request.tagKeys, request.staleMs) ? held : undefined
  }

  #fromMemory<T>(request: CacheRequest<T>): Found<T> | undefined {
    const held = this.#heldInMemory(request)
    return held && this.#serve(request, held, 'memory')
  }

  /** An answer with a value whose generations are good, if it is not too old. */
  #serve<T>(request: CacheRequest<T>, held: Held, from: 'memory' | 'store'): Found<T> | undefined {
    const nowMs = this.#parts.clock.now()
    if (nowMs < held.freshUntilMs) return this.#answer(request, held, from, nowMs)
    if (nowMs < held.staleUntilMs) {
      this.#refresh(request, held, nowMs)
      return this.#answer(request, held, 'stale', nowMs)
    }
    if (nowMs < (held.retryAtMs ?? 0) && nowMs < held.keptUntilMs)
      return this.#answer(request, held, 'stale_if_error', nowMs)
    return undefined
  }

  #answer<T>(request: CacheRequest<T>, held: Held, from: Found<T>['from'], nowMs: number): Found<T> {
    this.#count(request.entry, from)
    return toFound(held, request.codec, from, nowMs)
  }

  #land<T>(request: CacheRequest<T>, { own, thrown, held, from }: Landing<T>, isOwner: boolean): Found<T> {
    if (thrown !== undefined) {
      this.#count(request.entry, 'failed')
      throw thrown as Error
    }
    if (own !== undefined) {
      this.#count(request.entry, 'computed')
      return { value: own.value, from: 'computed', freshForMs: 0 }
    }
    const as = !isOwner && from === 'computed' ? 'waited' : from
    return this.#answer(request, held!, as, this.#parts.clock.now())
  }

  /** What has to be known before a request may join a flight. */
  async #see<T>(request: CacheRequest<T>): Promise<Seen> {
    const { tagKeys, text } = request
    const held = this.#memory.get(text)
    if (tagKeys.length > 0 && this.#store !== undefined)
      try {
        return await this.#store.see(request)
      } catch (error) {
        this.#onAway(error)
        return { generations: undefined }
      }
    const generations = await this.#generations.ensure(tagKeys, request.lifetimeMs)
    return held?.generations === generations ? { generations, held } : { generations }
  }

  async #seeMany<T>(requests: readonly CacheRequest<T>[]): Promise<Seen[]> {
    if (this.#store === undefined) return Promise.all(requests.map((request) => this.#see(request)))
    try {
      const seen = await this.#store.lookMany(requests)
      return await Promise.all(
        seen.map(async (one, index) => (one.generations === undefined ? this.#see(requests[index]!) : one)),
      )
    } catch (error) {
      this.#onAway(error)
      return requests.map(({ tagKeys }) => ({ generations: tagKeys.length === 0 ? '' : undefined }))
    }
  }

  /** Flights for other generations are other flights; where these are not known, all of them until something is invalidated here. */
  #flightKey<T>(request: CacheRequest<T>, generations: string | undefined): string {
    return `${request.text}\n${generations ?? `?${this.#generations.epoch}`}`
  }

  #launch<T>(key: string, request: CacheRequest<T>, seen: Seen, way: Way): Flight<Landing<T>> {
    const { maxFlightMs } = request
    const flight = this.#flights.launch(key, { maxFlightMs, ...way }, (signal, onCompute) =>
      this.#fly(request, seen, { ...way, onCompute }, signal),
    )
    return flight as Flight<Landing<T>>
  }

  /** Computes a stale value anew, if nobody does. */
  #refresh<T>(request: CacheRequest<T>, held: Held, nowMs: number): void {
    if (nowMs < (held.retryAtMs ?? 0) || this.#flights.backgroundCount >= MAX_REFRESHES) return
    const key = this.#flightKey(request, held.generations)
    if (this.#flights.get(key) === undefined)
      this.#launch(key, request, { generations: held.generations, held }, REFRESHING)
  }

  async #fly<T>(
    request: CacheRequest<T>,
    seen: Seen,
    way: Way & { onCompute(): void },
    signal: AbortSignal,
  ): Promise<Landing<T>> {
    const store = this.#store
    const { generations } = seen
    if (store === undefined || generations === undefined) {
      way.onCompute()
      return this.#computing.compute(request, generations, seen.held, signal)
    }
    const lead = await this.#lead(request, generations, store, way, signal)
    if (lead.kind === 'found') return lead.value
    let landing: Landing<T> | undefined
    // What nobody waits for any more must not have the next caller wait for it.
    if (lead.kind === 'lead') signal.addEventListener('abort', () => void lead.end(), { once: true })
    try {
      way.onCompute()
      landing = await this.#computing.compute(request, generations, seen.held ?? this.#memory.get(request.text), signal)
      return landing
    } finally {
      const write = landing?.kept === undefined ? Promise.resolve() : store.put(request, landing.kept)
      // Nobody here waits for it.
      this.#track(lead.kind === 'lead' ? write.then(() => lead.end()) : write)
    }
  }

  /** Takes the lead among the nodes, or finds what another has computed. */
  async #lead<T>(
    request: CacheRequest<T>,
    generations: string,
    store: StoreTier,
    { mayFollow, isBackground }: Way,
    signal: AbortSignal,
  ): Promise<Lead<Landing<T>>> {
    const { clock } = this.#parts
    const startedMs = clock.monotonic()
    let from: Landing<T>['from'] = 'store'
    const look = async (isStaleGood: boolean): Promise<Landing<T> | undefined> => {
      const { held } = await store.look(request)
      const goodUntilMs = isStaleGood ? held?.staleUntilMs : held?.freshUntilMs
      return held !== undefined && clock.now() < goodUntilMs! ? { held, from } : undefined
    }
    try {
      // With tags it was looked for already.
      if (request.tagKeys.length === 0) {
        const value = await look(!isBackground)
        if (value !== undefined) return { kind: 'found', value }
      }
      if (mayFollow) {
        const bound = { untilMs: startedMs + request.maxFlightMs, maxFlightMs: request.maxFlightMs }
        const onWait = (): void => void (from = 'waited')
        const lead = await this.#leadership!.take(
          request.flightOf(generations),
          () => look(false),
          bound,
          signal,
          onWait,
        )
        if (lead.kind !== 'overdue') return lead
      }
    } catch (error) {
      signal.throwIfAborted()
      this.#onAway(error)
    }
    this.#count(request.entry, 'unled')
    return { kind: 'overdue' }
  }

  /** Keeps what a batch has computed. */
  async #keep<T>(request: CacheRequest<T>, held: Held, isNewest = false): Promise<void> {
    if (request.tagKeys.length > 0 && held.generations === '') return
    this.#memory.put(request.text, held, request.codec, isNewest)
    const write = this.#store?.put(request, held)
    if (write === undefined) return
    this.#track(write)
    await write
  }

  #track(write: Promise<void>): void {
    this.#writes.add(write)
    void write.finally(() => this.#writes.delete(write))
  }

  #hear([kind, ...names]: CacheMessage): void {
    if (kind === 'invalidated') this.#generations.forget(names)
    else this.#leadership!.hear(names[0] ?? '')
  }

  #count({ cache }: CacheEntry, event: CacheEvent): void {
    this.#parts.telemetry.cached(cache, event)
  }

  #onAway(error: unknown): void {
    this.#parts.telemetry.count('degraded', 'cache')
    // The store tells of its own coming and going.
    if (!(error instanceof HoldfastError))
      this.#parts.telemetry.failure(undefined, 'The cache could not use the store.', error)
  }
}
