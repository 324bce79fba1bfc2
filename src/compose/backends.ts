import { isRedisUrl, parseRedisUrl } from '../backends/redis/url.ts'
import { MemoryEventBus } from '../backends/memory/event-bus.ts'
import { MemoryStateStore } from '../backends/memory/state-store.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import type { EventBus } from '../ports/event-bus.ts'
import type { StateStore } from '../ports/state-store.ts'

/** State in the memory of this process. */
export const MEMORY_URL = 'memory:'

/** The store and the bus of a runtime. */
export interface Backends {
  readonly state: StateStore
  readonly bus: EventBus
  /** Whether the store can be reached now. */
  isUp(): boolean
  /** Whether it could be reached once. */
  wasUp(): boolean
  /** Closes what was opened here. */
  close(): Promise<void>
}

/** Whether a value of the option `state` is a URL of a store that nodes share. */
export const isSharedUrl = (state: unknown): state is string => typeof state === 'string' && state !== MEMORY_URL

/**
 * Checks a state URL.
 * @throws {HoldfastError} `invalid_option` that names what is wrong with it.
 */
export function checkStateUrl(url: string, name: string): void {
  if (isRedisUrl(url)) parseRedisUrl(url)
  else if (url !== MEMORY_URL)
    throw new HoldfastError(
      'invalid_option',
      `${name} has the scheme ${JSON.stringify(schemeOf(url))}; there are memory:, redis://, rediss://, redis+sentinel://, rediss+sentinel://, redis+cluster:// and rediss+cluster://.`,
    )
}

/** What stands before the first colon: the rest may hold a password. */
export const schemeOf = (url: string): string => /^[^:]*:?/.exec(url)![0]

/**
 * Opens the store and the bus. A store that can't be reached yet is no error.
 * @param onChange told when a shared store can be reached, and when it can no longer.
 * @throws {HoldfastError} `invalid_option` where no waiting helps.
 */
export async function openBackends(
  options: { state: string | StateStore; bus?: EventBus | undefined },
  clock: Clock,
  onChange: (isUp: boolean, error?: Error) => void,
): Promise<Backends> {
  const given = { state: options.state, bus: options.bus }
  if (typeof given.state !== 'string' || !isSharedUrl(given.state)) {
    const state = typeof given.state === 'string' ? new MemoryStateStore(clock) : given.state
    const bus = given.bus ?? new MemoryEventBus()
    return {
      state,
      bus,
      isUp: () => true,
      wasUp: () => true,
      async close() {
        if (state !== given.state) await state.close()
        if (bus !== given.bus) await bus.close()
      },
    }
  }
  // Loaded only now: who needs no Redis does not pay for it at start.
  const { openRedis } = await import('../backends/redis/open.ts')
  let isUp = false
  let wasUp = false
  const opened = await openRedis(given.state, {
    onUp() {
      isUp = wasUp = true
      onChange(true)
    },
    onDown(error) {
      isUp = false
      onChange(false, error)
    },
  })
  return {
    state: opened.state,
    bus: given.bus ?? opened.bus,
    isUp: () => isUp,
    wasUp: () => wasUp,
    close: async () => void (await Promise.all([opened.state.close(), opened.bus.close()])),
  }
}
