/** One system under measurement: a process that creates its jobs, a process that runs them, and a look from outside. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { track } from '../lib/children.ts'
import type { Command, Creation, Entered } from './process.ts'
import { nowMs } from './system.ts'
import type { Place, Probe, TaskSystem } from './system.ts'
import { quantile } from '../lib/stats.ts'

/** What a run at full speed showed. */
export interface Peak {
  count: number
  /** From the first creation until the end of the last is on record. */
  perSecond: number
  /** Processor time of the process that creates and of the one that runs, microseconds a job; one figure where they are one. */
  cpuUs: number[]
}

/** Latencies of one open loop, milliseconds. */
export interface Latencies {
  perSecond: number
  count: number
  createP50Ms: number
  createP99Ms: number
  /** From the acknowledgement to the handler; 0 where the handler was faster. */
  pickupP50Ms: number
  pickupP99Ms: number
}

const endTimeoutMs = 180_000
const lookMs = 10

/** See the head of this file. */
export class Rig {
  readonly #producer: Child
  readonly #consumer: Child
  readonly #probe: Probe

  private constructor(producer: Child, consumer: Child, probe: Probe) {
    this.#producer = producer
    this.#consumer = consumer
    this.#probe = probe
  }

  /** @param module URL of a {@link TaskSystem}. */
  static async open(module: string, place: Place): Promise<Rig> {
    const system = (await import(module)) as TaskSystem
    await system.prepare(place)
    const producer = new Child()
    const consumer = place.isEmbedded === true ? producer : new Child()
    await producer.send({ kind: 'produce', module, place })
    await consumer.send({ kind: 'consume', module, place, holdsJobs: false })
    return new Rig(producer, consumer, await system.probe(place))
  }

  /** Jobs created one by one by many callers, and run meanwhile. */
  async peak(durationMs: number, callers: number): Promise<Peak> {
    const before = await this.#cpuUs()
    const startMs = nowMs()
    const count = await this.#producer.send<number>({ kind: 'closed-loop', durationMs, callers })
    await finished(this.#probe)
    const tookMs = nowMs() - startMs
    const after = await this.#cpuUs()
    await this.#entered()
    return {
      count,
      perSecond: (count * 1000) / tookMs,
      cpuUs: after.map((us, index) => (us - before[index]!) / count),
    }
  }

  /** Jobs at a rate of their own. */
  async openLoop(perSecond: number, durationMs: number): Promise<Latencies> {
    const creations = await this.#producer.send<Creation[]>({ kind: 'open-loop', perSecond, durationMs })
    await finished(this.#probe)
    const entered = new Map(await this.#entered())
    const create = creations.map(({ dueMs, committedMs }) => committedMs - dueMs)
    const pickup = creations.map(({ key, committedMs }) => Math.max(0, entered.get(key)! - committedMs))
    return {
      perSecond,
      count: creations.length,
      createP50Ms: quantile(create, 0.5),
      createP99Ms: quantile(create, 0.99),
      pickupP50Ms: quantile(pickup, 0.5),
      pickupP99Ms: quantile(pickup, 0.99),
    }
  }

  async close(): Promise<void> {
    const children = new Set([this.#producer, this.#consumer])
    await Promise.all([...Array.from(children, (child) => child.end()), this.#probe.close()])
  }

  #entered(): Promise<Entered[]> {
    return this.#consumer.send({ kind: 'entered' })
  }

  async #cpuUs(): Promise<number[]> {
    const children = Array.from(new Set([this.#producer, this.#consumer]))
    const all = await Promise.all(children.map((child) => child.send<NodeJS.CpuUsage>({ kind: 'cpu' })))
    return all.map(({ user, system }) => user + system)
  }
}

/** Jobs a second of a backlog that was there before its consumer, from the first handler to the end of the last. */
export async function drain(module: string, place: Place, count: number): Promise<number> {
  const system = (await import(module)) as TaskSystem
  await system.prepare(place)
  const probe = await system.probe(place)
  const producer = new Child()
  const consumer = place.isEmbedded === true ? producer : new Child()
  await producer.send({ kind: 'produce', module, place })
  for (let left = count; left > 0; left -= 1000) await producer.send({ kind: 'fill', count: Math.min(left, 1000) })
  await consumer.send({ kind: 'consume', module, place, holdsJobs: false })
  await finished(probe)
  const endMs = nowMs()
  const entered = await consumer.send<Entered[]>({ kind: 'entered' })
  await Promise.all([...Array.from(new Set([producer, consumer]), (child) => child.end()), probe.close()])
  return (count * 1000) / (endMs - Math.min(...entered.map(([, atMs]) => atMs)))
}

/**
 * Kills a consumer in the middle of jobs, and waits until another has all of them.
 * @param settleMs the other has been there for so long
 * @returns milliseconds from the kill to the first and to the last handler.
 */
export async function takeover(
  module: string,
  place: Place,
  jobs: number,
  settleMs: number,
): Promise<{ firstMs: number; lastMs: number }> {
  const system = (await import(module)) as TaskSystem
  await system.prepare(place)
  const [victim, heir] = [new Child(), new Child()]
  const producer = place.isEmbedded === true ? victim : new Child()
  await producer.send({ kind: 'produce', module, place })
  await victim.send({ kind: 'consume', module, place, holdsJobs: true })
  await producer.send({ kind: 'fill', count: jobs })
  let entered: Entered[] = []
  const awaitAll = async (child: Child): Promise<void> => {
    entered = []
    const giveUpMs = nowMs() + endTimeoutMs
    while (entered.length < jobs) {
      entered.push(...(await child.send<Entered[]>({ kind: 'entered' })))
      if (nowMs() > giveUpMs) throw new Error(`only ${entered.length} of ${jobs} jobs were begun`)
      await wait(lookMs)
    }
  }
  await awaitAll(victim)
  await heir.send({ kind: 'consume', module, place, holdsJobs: false })
  await wait(settleMs)
  const killedMs = nowMs()
  await victim.kill()
  await awaitAll(heir)
  await Promise.all([heir.end(), producer === victim ? undefined : producer.end()])
  const times = entered.map(([, atMs]) => atMs - killedMs)
  return { firstMs: Math.min(...times), lastMs: Math.max(...times) }
}

async function finished(probe: Probe): Promise<void> {
  const giveUpMs = nowMs() + endTimeoutMs
  while ((await probe.unfinished()) > 0) {
    if (nowMs() > giveUpMs) throw new Error(`jobs had not ended after ${endTimeoutMs / 1000} s`)
    await wait(lookMs)
  }
}

/** A process that creates or runs jobs. */
class Child {
  readonly #process: ChildProcess

  constructor() {
    this.#process = fork(new URL('./process.ts', import.meta.url), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    track(this.#process)
  }

  send<Result>(command: Command): Promise<Result> {
    return new Promise((resolve, reject) => {
      const onExit = (code: number | null) => reject(new Error(`a process of the bench ended with ${code}`))
      this.#process.once('exit', onExit)
      this.#process.once('message', (answer: { result: Result; error?: string }) => {
        this.#process.off('exit', onExit)
        if (answer.error === undefined) resolve(answer.result)
        else reject(new Error(answer.error))
      })
      this.#process.send(command)
    })
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL')
    await once(this.#process, 'exit')
  }

  /** Closes what it has opened; then it ends by itself, as it is left alone. */
  async end(): Promise<void> {
    await this.send({ kind: 'close' })
    this.#process.disconnect()
    await once(this.#process, 'exit')
  }
}
