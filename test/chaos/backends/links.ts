// The way of each process to a server: a proxied connection of its own, so that one can be cut off while the others are not.
import type { Link, Toxiproxy } from '../../servers/toxiproxy.ts'

/** Links to one server. */
export class Links {
  readonly #toxiproxy: Toxiproxy
  readonly #name: string
  readonly #server: { readonly host: string; readonly port: number }
  readonly #shared: Link | undefined
  readonly #links = new Map<string, Link>()

  /** @param shared the one link of all, where a server says itself under what address it is reached. */
  constructor(toxiproxy: Toxiproxy, name: string, server: { host: string; port: number }, shared?: Link) {
    this.#toxiproxy = toxiproxy
    this.#name = name
    this.#server = server
    this.#shared = shared
  }

  /** Whether one process can be cut off alone. */
  get areApart(): boolean {
    return this.#shared === undefined
  }

  /** The link of a process; made when it is first asked for. */
  async of(process: string): Promise<Link> {
    const known = this.#shared ?? this.#links.get(process)
    if (known !== undefined) return known
    const link = await this.#toxiproxy.proxy(`${this.#name}-${process}`, this.#server)
    this.#links.set(process, link)
    return link
  }

  /** The links that a fault is to break. */
  async broken(targets: readonly string[] | 'all'): Promise<Link[]> {
    if (this.#shared !== undefined) return [this.#shared]
    return targets === 'all' ? [...this.#links.values()] : Promise.all(targets.map((process) => this.of(process)))
  }

  /** Makes every link well. */
  async clear(): Promise<void> {
    for (const link of this.#shared === undefined ? this.#links.values() : [this.#shared]) await link.clear()
  }
}

/** What a link can be made to do. */
export const LINK_FAULTS: Readonly<Record<string, (link: Link) => Promise<void>>> = {
  refuses: (link) => link.disable(),
  'black-holes': async (link) => {
    await link.add('timeout', { timeout: 0 })
    await link.add('timeout', { timeout: 0 }, { stream: 'upstream' })
  },
  'loses replies': (link) => link.add('timeout', { timeout: 0 }),
  'resets connections': (link) => link.add('reset_peer', { timeout: 100 }),
  delays: (link) => link.add('latency', { latency: 250, jitter: 150 }),
}
