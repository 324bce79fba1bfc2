import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { StateStore } from '../../ports/state-store.ts'
import type { IpcChannel } from './channel.ts'

/** State that the primary process holds for its workers (`--processes`). */
export class IpcStateStore implements StateStore {
  readonly #channel: IpcChannel
  #isClosed = false

  constructor(channel: IpcChannel) {
    this.#channel = channel
  }

  getMany(...args: Parameters<StateStore['getMany']>): ReturnType<StateStore['getMany']> {
    return this.#call('getMany', args)
  }
  set(...args: Parameters<StateStore['set']>): ReturnType<StateStore['set']> {
    return this.#call('set', args)
  }
  compareAndSet(...args: Parameters<StateStore['compareAndSet']>): ReturnType<StateStore['compareAndSet']> {
    return this.#call('compareAndSet', args)
  }
  delete(...args: Parameters<StateStore['delete']>): ReturnType<StateStore['delete']> {
    return this.#call('delete', args)
  }
  append(...args: Parameters<StateStore['append']>): ReturnType<StateStore['append']> {
    return this.#call('append', args)
  }
  readAfter(...args: Parameters<StateStore['readAfter']>): ReturnType<StateStore['readAfter']> {
    return this.#call('readAfter', args)
  }
  takeTokens(...args: Parameters<StateStore['takeTokens']>): ReturnType<StateStore['takeTokens']> {
    return this.#call('takeTokens', args)
  }
  acquire(...args: Parameters<StateStore['acquire']>): ReturnType<StateStore['acquire']> {
    return this.#call('acquire', args)
  }
  release(...args: Parameters<StateStore['release']>): ReturnType<StateStore['release']> {
    return this.#call('release', args)
  }
  extend(...args: Parameters<StateStore['extend']>): ReturnType<StateStore['extend']> {
    return this.#call('extend', args)
  }
  async close(): Promise<void> {
    this.#isClosed = true
  }

  async #call<T>(op: string, args: unknown[]): Promise<T> {
    if (this.#isClosed) throw new HoldfastError('closed', 'The state store was closed.')
    return this.#channel.call<T>(op, ...args)
  }
}
