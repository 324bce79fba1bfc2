import { HoldfastError } from '../../errors/holdfast-error.ts'

/** Two ends that pass structured values: a cluster worker and its primary, or the ports of a `MessageChannel`. */
export interface IpcPort {
  send(message: unknown): void
  onMessage(listener: (message: unknown) => void): void
  onClose(listener: () => void): void
}

type Handler = (...args: never[]) => Promise<unknown>

/** Marks our messages among those that others may send on the same channel. */
const MARK = 'holdfast'
const ANSWER_TIMEOUT_MS = 5000

interface Call {
  mark: typeof MARK
  call: number
  op: string
  args: unknown[]
}
interface Answer {
  mark: typeof MARK
  answer: number
  value?: unknown
  error?: string
}

/**
 * Calls over an {@link IpcPort}, in both directions. A call that is not answered within five seconds, or whose other end has
 * gone, is rejected with `backend_failed`: nothing waits for ever.
 */
export class IpcChannel {
  readonly #port: IpcPort
  readonly #handlers: Readonly<Record<string, Handler>>
  readonly #waiting = new Map<
    number,
    { resolve: (value: never) => void; reject: (error: Error) => void; timer: NodeJS.Timeout }
  >()
  #next = 0
  #isClosed = false

  constructor(port: IpcPort, handlers: Readonly<Record<string, Handler>>) {
    this.#port = port
    this.#handlers = handlers
    port.onMessage((message) => this.#receive(message))
    port.onClose(() => this.close())
  }

  call<T>(op: string, ...args: unknown[]): Promise<T> {
    if (this.#isClosed) return Promise.reject(new HoldfastError('backend_failed', 'The other process has gone.'))
    const call = ++this.#next
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(call)
        reject(
          new HoldfastError(
            'backend_failed',
            `The other process did not answer \`${op}\` within ${ANSWER_TIMEOUT_MS} ms.`,
          ),
        )
      }, ANSWER_TIMEOUT_MS)
      timer.unref()
      this.#waiting.set(call, { resolve: resolve as (value: never) => void, reject, timer })
      this.#port.send({ mark: MARK, call, op, args } satisfies Call)
    })
  }

  #receive(message: unknown): void {
    if (typeof message !== 'object' || message === null || (message as { mark?: unknown }).mark !== MARK) return
    if ('call' in message) void this.#serve(message as Call)
    else this.#settle(message as Answer)
  }

  async #serve({ call, op, args }: Call): Promise<void> {
    let answer: Answer
    try {
      const handler = Object.hasOwn(this.#handlers, op) ? this.#handlers[op] : undefined
      if (handler === undefined) throw new HoldfastError('backend_failed', `There is no operation \`${op}\`.`)
      answer = { mark: MARK, answer: call, value: await handler(...(args as never[])) }
    } catch (error) {
      answer = { mark: MARK, answer: call, error: error instanceof Error ? error.message : String(error) }
    }
    if (!this.#isClosed) this.#port.send(answer)
  }

  #settle({ answer, value, error }: Answer): void {
    const waiting = this.#waiting.get(answer)
    if (waiting === undefined) return
    this.#waiting.delete(answer)
    clearTimeout(waiting.timer)
    if (error === undefined) waiting.resolve(value as never)
    else waiting.reject(new HoldfastError('backend_failed', error))
  }

  /** Rejects what waits. The port stays as it is. */
  close(): void {
    this.#isClosed = true
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer)
      reject(new HoldfastError('backend_failed', 'The other process has gone.'))
    }
    this.#waiting.clear()
  }
}
