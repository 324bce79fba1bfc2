// The four faults of a network, or of the server at its end.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Link } from '../servers/toxiproxy.ts'

/** What can be wrong with the way to a backend. */
export const FAULTS = ['refused', 'black-holed', 'slow', 'flapping'] as const
/** Name of a fault. */
export type FaultName = (typeof FAULTS)[number]

/** How it is told of. */
export const ABOUT_FAULT: Readonly<Record<FaultName, string>> = {
  refused: 'connections are cut, and refused',
  'black-holed': 'connections stand, and nothing passes',
  slow: 'every answer is late by 100 to 400 ms',
  flapping: 'refused for half a second, there for half a second, and so on',
}

const FLAP_MS = 500

/** Breaks links; resolves to what mends them again. */
export async function breakLinks(links: readonly Link[], fault: FaultName): Promise<() => Promise<void>> {
  const all = async (change: (link: Link) => Promise<void>): Promise<void> =>
    void (await Promise.all(links.map(change)))
  const heal = (): Promise<void> => all((link) => link.clear())
  if (fault === 'flapping') return flap(all, heal)
  await all(BREAKS[fault])
  return heal
}

const BREAKS: Readonly<Record<Exclude<FaultName, 'flapping'>, (link: Link) => Promise<void>>> = {
  refused: (link) => link.disable(),
  'black-holed': async (link) => {
    await link.add('timeout', { timeout: 0 })
    await link.add('timeout', { timeout: 0 }, { stream: 'upstream' })
  },
  slow: (link) => link.add('latency', { latency: 250, jitter: 150 }),
}

function flap(
  all: (change: (link: Link) => Promise<void>) => Promise<void>,
  heal: () => Promise<void>,
): () => Promise<void> {
  const stop = new AbortController()
  const halfASecond = (): Promise<void> => sleep(FLAP_MS, undefined, { signal: stop.signal }).catch(() => undefined)
  const flapping = (async () => {
    while (!stop.signal.aborted) {
      await all((link) => link.disable())
      await halfASecond()
      await all((link) => link.enable())
      await halfASecond()
    }
  })()
  return async () => {
    stop.abort()
    await flapping
    await heal()
  }
}
