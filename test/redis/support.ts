import { openRedis, type RedisBackends } from '../../src/backends/redis/open.ts'

/** An opened URL, and what its connection told. */
export interface Opened extends RedisBackends, AsyncDisposable {
  readonly told: ('up' | 'down')[]
}

/** Opens a URL with time-outs that suit tests; closes it with the scope. */
export async function open(url: string, options: Record<string, string | number> = {}): Promise<Opened> {
  const query = new URLSearchParams(
    Object.entries({ commandTimeoutMs: COMMAND_TIMEOUT_MS, connectTimeoutMs: 500, ...options }).map(([name, value]) => [
      name,
      String(value),
    ]),
  )
  const told: Opened['told'] = []
  const { state, bus } = await openRedis(`${url}?${query.toString()}`, {
    onUp: () => told.push('up'),
    onDown: () => told.push('down'),
  })
  return {
    state,
    bus,
    told,
    async [Symbol.asyncDispose]() {
      await Promise.all([state.close(), bus.close()])
    },
  }
}

export const COMMAND_TIMEOUT_MS = 300
/** What a busy machine may add to a time-out. */
export const SLACK_MS = 700

/** Does something every few milliseconds, and keeps what came of it. */
export class Load implements AsyncDisposable {
  readonly outcomes: { atMs: number; tookMs: number; ok: boolean; code: string | undefined }[] = []
  readonly #pending = new Set<Promise<void>>()
  readonly #timer: NodeJS.Timeout
  readonly #act: (n: number) => Promise<unknown>
  #count = 0

  constructor(act: (n: number) => Promise<unknown>, everyMs = 10) {
    this.#act = act
    this.#timer = setInterval(() => this.#once(), everyMs)
  }

  #once(): void {
    const atMs = performance.now()
    const settled = (ok: boolean, code?: string): void => {
      this.outcomes.push({ atMs, tookMs: performance.now() - atMs, ok, code })
      this.#pending.delete(one)
    }
    const one: Promise<void> = this.#act(this.#count++).then(
      () => settled(true),
      (error: { code?: string }) => settled(false, error.code),
    )
    this.#pending.add(one)
  }

  get failures(): number {
    return this.outcomes.filter(({ ok }) => !ok).length
  }
  /** Whether the last few went well. */
  get isWell(): boolean {
    const last = this.outcomes.slice(-5)
    return last.length === 5 && last.every(({ ok }) => ok)
  }
  get slowestMs(): number {
    return Math.max(...this.outcomes.map(({ tookMs }) => tookMs))
  }
  get codes(): Set<string | undefined> {
    return new Set(this.outcomes.filter(({ ok }) => !ok).map(({ code }) => code))
  }

  /** Stops, and resolves when everything begun has settled. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#pending)
  }
}

/** Hears a channel, and its gaps. */
export async function listen(opened: Pick<Opened, 'bus'>, channel: string): Promise<{ heard: string[]; gaps: number }> {
  const ear = { heard: [] as string[], gaps: 0 }
  await opened.bus.subscribe(
    channel,
    (message) => ear.heard.push(Buffer.from(message).toString()),
    () => ear.gaps++,
  )
  return ear
}

export const bytes = (text: string): Uint8Array => Buffer.from(text)
