import { afterEach, beforeEach, expect, test } from 'vitest'
import { LoopGuard } from '../../src/limits/loop-guard.ts'
import type { Clock } from '../../src/ports/clock.ts'

/** A clock whose sleeps end when the test says so, by as much too late as it says. */
class LateClock implements Clock {
  #ms = 0
  #wake: (() => void) | undefined
  now(): number {
    return this.#ms
  }
  monotonic(): number {
    return this.#ms
  }
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
      this.#wake = () => {
        this.#ms += ms
        resolve()
      }
    })
  }
  async beat(lateMs: number): Promise<void> {
    this.#ms += lateMs
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  get isAsleep(): boolean {
    return this.#wake !== undefined
  }
}

let clock: LateClock
let guard: LoopGuard
beforeEach(() => {
  clock = new LateClock()
  guard = new LoopGuard(250, clock)
})
afterEach(() => guard.close())

/** `count` requests of a caller; how many are admitted. */
function send(caller: string, count: number): number {
  guard.touch()
  let admitted = 0
  for (let index = 0; index < count; index++) if (guard.admits(caller)) admitted++
  return admitted
}

/** Beats that are late, with `greedy` sending much and `polite` sending little before each. */
async function lateBeats(count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    send('greedy', 90)
    send('polite', 1)
    await clock.beat(300)
  }
}

test('a pause sheds nothing', async () => {
  send('greedy', 1)
  await clock.beat(3000)
  expect(send('greedy', 1000)).toBe(1000)
  await clock.beat(0)
  expect(guard.isCounting).toBe(false)
})

test('while the loop stays late, who sends much is shed, and who sends little is not', async () => {
  await lateBeats(2)
  expect(guard.delayMs).toBe(300)
  // 90 took 300 ms: in 125 ms, 37 of them.
  expect(send('greedy', 90)).toBe(37)
  expect(send('polite', 1)).toBe(1)
  await clock.beat(500)
  expect(send('greedy', 90)).toBe(9)
  expect(send('polite', 1)).toBe(1)
})

test('the quota never falls below one request', async () => {
  await lateBeats(30)
  expect(send('greedy', 90)).toBe(1)
})

test('the quota grows while the loop is in time, and goes when it has bound nobody for a second', async () => {
  await lateBeats(3)
  const admitted: number[] = []
  for (let index = 0; index < 12; index++) {
    await clock.beat(0)
    admitted.push(send('greedy', 90))
  }
  expect(admitted).toEqual([...admitted].sort((a, b) => a - b))
  expect(admitted[0]).toBeLessThan(60)
  expect(admitted.at(-1)).toBe(90)
  for (let index = 0; index < 25; index++) {
    send('greedy', 10)
    await clock.beat(0)
  }
  expect(guard.isCounting).toBe(false)
  expect(send('greedy', 100_000)).toBe(100_000)
})

test('without requests no timer runs, and with the next one it runs again', async () => {
  send('polite', 1)
  expect(clock.isAsleep).toBe(true)
  for (let index = 0; index < 30; index++) await clock.beat(0)
  expect(clock.isAsleep).toBe(false)
  expect(guard.delayMs).toBe(0)
  send('polite', 1)
  expect(clock.isAsleep).toBe(true)
})
