/**
 * Runs a part of an ingest, and puts its result on record where the ingest is a durable task: an attempt after a crash is given
 * the recorded result, and goes on behind it. Names are the same in each attempt. A result is JSON.
 */
export type Step = <T>(name: string, work: () => Promise<T>) => Promise<T>

/** Just runs it. */
export const withoutRecord: Step = (_name, work) => work()

/** Parts of an ingest that are recorded as one, so that the biggest ingest stays far below the bound of a record. */
const MAX_STEPS = 300

/** How many things to do in one step, `least` or more. */
export function perStep(count: number, least: number): number {
  return Math.max(least, Math.ceil(count / MAX_STEPS))
}

/** Does things one after the other, whoever asks for them; a failure is its asker's alone. */
export type InTurn = <T>(work: () => Promise<T>) => Promise<T>

export function createTurns(): InTurn {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const done = last.then(work)
    last = done.catch(() => {})
    return done
  }
}
