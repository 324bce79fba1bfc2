import type { WaitingCall } from '../kernel/exchange.ts'
import { waitingKey } from '../kernel/keys.ts'
import type { Services } from '../kernel/services.ts'

/** What the store says of a call that waits for a task. */
interface WaitingRecord {
  /** Node that waits; empty where it has left, and the next may. */
  readonly runner: string
  readonly call: WaitingCall
}

/** A {@link WaitingRecord}, and the bytes that name it in the next write. */
export interface FoundWaiting extends WaitingRecord {
  readonly bytes: Uint8Array
}

/**
 * Says which node waits for the task of a 2025 call, by the stream that the answer goes on. One node at a time is named: every
 * write names what it replaces, so of two that take over one wins, and a node that was only slow finds itself replaced.
 */
export class WaitingCalls {
  readonly #services: Pick<Services, 'state' | 'nodeId' | 'options'>

  constructor(services: Pick<Services, 'state' | 'nodeId' | 'options'>) {
    this.#services = services
  }

  async find(sid: string, streamId: string): Promise<FoundWaiting | undefined> {
    const [bytes] = await this.#services.state.getMany([waitingKey(sid, streamId)])
    if (bytes === undefined) return undefined
    const [runner, call] = JSON.parse(Buffer.from(bytes).toString()) as [string, WaitingCall]
    return { runner, call, bytes }
  }

  /** This node waits: `replaced` says for whom. `undefined`: another was faster. */
  async take(
    sid: string,
    streamId: string,
    call: WaitingCall,
    replaced?: FoundWaiting,
  ): Promise<HeldWaiting | undefined> {
    const { state, nodeId, options } = this.#services
    const key = waitingKey(sid, streamId)
    const mine = Buffer.from(JSON.stringify([nodeId, call]))
    const times = { ttlMs: options.resumeTtlMs }
    if (!(await state.compareAndSet(key, replaced?.bytes, mine, times))) return undefined
    return {
      renew: async () =>
        (await state.compareAndSet(key, mine, mine, times)) || (await state.compareAndSet(key, undefined, mine, times)),
      release: () => state.compareAndSet(key, mine, Buffer.from(JSON.stringify(['', call])), times),
      forget: async () => void (await state.delete([key])),
    }
  }
}

/** This node's place as the one that waits. */
export interface HeldWaiting {
  /** Keeps the record, or makes it anew where the store has lost it; `false`: another node has taken the place. */
  renew(): Promise<boolean>
  /** The next node that is asked for the stream takes the place. */
  release(): Promise<boolean>
  /** The call is answered. */
  forget(): Promise<void>
}
