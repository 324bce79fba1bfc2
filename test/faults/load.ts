// The load: every feature used at its own rate, whether the last use has been answered or not.
import { setTimeout as sleep } from 'node:timers/promises'
import { FEATURES, type Feature, type FeatureName } from './features.ts'
import type { FaultNodes } from './nodes.ts'
import type { Outcome, Use } from './outcome.ts'

/** One use of a feature, with what came of it. Times in ms of `performance.now()`. */
export interface Record extends Outcome {
  readonly feature: FeatureName
  readonly node: number
  readonly startMs: number
  readonly endMs: number
}

const EVERY_MS = 300

/** Uses features from now on, until it is stopped. */
export class Load {
  readonly records: Record[] = []
  readonly #under = new Set<Promise<void>>()
  readonly #stop = new AbortController()
  readonly #features: ReadonlyMap<FeatureName, Use>
  readonly #pace: number
  readonly #loops: readonly Promise<void>[]

  /**
   * @param features name → its use, prepared
   * @param pace how much slower than usual
   */
  constructor(features: ReadonlyMap<FeatureName, Use>, pace = 1) {
    this.#features = features
    this.#pace = pace
    this.#loops = [...features].map(([name, use]) => this.#loop(name, use))
  }

  /** Prepares features, and begins. */
  static async start(
    names: readonly FeatureName[],
    nodes: FaultNodes,
    stack: AsyncDisposableStack,
    pace?: number,
  ): Promise<Load> {
    const uses = new Map<FeatureName, Use>()
    for (const name of names) uses.set(name, await FEATURES[name].prepare(nodes, stack))
    return new Load(uses, pace)
  }

  /** The last uses of each feature that have begun after a time. */
  lastOf(feature: FeatureName, sinceMs: number, count: number): readonly Record[] {
    return this.records.filter((record) => record.feature === feature && record.startMs >= sinceMs).slice(-count)
  }

  /** Uses a feature at once, at each node. */
  use(feature: FeatureName): void {
    for (const node of [0, 1]) this.#begin(feature, node, this.#features.get(feature)!)
  }

  /** Begins no use any more; resolves when those under way have ended. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#loops)
    await Promise.all(this.#under)
  }

  async #loop(name: FeatureName, use: Use): Promise<void> {
    const { everyMs = EVERY_MS } = FEATURES[name] as Feature
    const { signal } = this.#stop
    for (let turn = 0; !signal.aborted; turn++) {
      this.#begin(name, turn % 2, use)
      // Apart from each other, as those of many clients are.
      await sleep(this.#pace * everyMs * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined)
    }
  }

  #begin(name: FeatureName, node: number, use: Use): void {
    const one = this.#use(name, node, use).finally(() => this.#under.delete(one))
    this.#under.add(one)
  }

  async #use(feature: FeatureName, node: number, use: Use): Promise<void> {
    const startMs = performance.now()
    let outcome: Outcome
    try {
      outcome = await use(node)
    } catch (error) {
      // The node itself has not answered: nothing that a backend does may lead to that.
      outcome = { code: 'no answer', text: String((error as Error).cause ?? error) }
    }
    this.records.push({ feature, node, startMs, endMs: performance.now(), ...outcome })
  }
}
