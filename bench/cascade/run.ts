/** One run of the cascade: three nodes, a model that falls ill and recovers, and callers who do not wait for each other. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { Agent } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { stop, track } from '../lib/children.ts'
import type { Context } from '../lib/context.ts'
import { callTool } from '../lib/send.ts'
import { startServer } from '../lib/server-process.ts'
import type { ServerProcess } from '../lib/server-process.ts'
import { holdfastCommand } from '../lib/targets.ts'
import type { Behaviour } from './endpoint.ts'

/** Calls a second to each node. */
const rates = { answer: 120, add: 40, lookup: 40 } as const
/** A caller's patience. */
const patienceMs = 10_000

export type Tool = keyof typeof rates

/** What the model does, one after the other. */
export interface Phase {
  readonly behaviour: Behaviour
  readonly durationMs: number
}

/** One call. */
export interface Sample {
  readonly tool: Tool
  readonly node: number
  /** When it was due, from the start of the run. */
  readonly atMs: number
  /** From when it was due. */
  readonly latencyMs: number
  /** `refused`: the guard did not let it out, or the node did not take it on. */
  readonly outcome: 'good' | 'refused' | 'failed' | 'gave up'
}

/** A run, with the time at which each phase began. */
export interface Run {
  readonly samples: readonly Sample[]
  readonly phasesAtMs: readonly number[]
}

/** The model's endpoint, as the bench tells it what to do. */
class Endpoint {
  readonly #child: ChildProcess
  port = 0

  constructor() {
    this.#child = fork(new URL('./endpoint.ts', import.meta.url), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    track(this.#child)
  }
  behave(behaviour: Behaviour): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#child.once('message', ({ port, error }: { port: number; error?: string }) => {
        if (error !== undefined) return reject(new Error(error))
        this.port = port
        resolve()
      })
      this.#child.send(behaviour)
    })
  }
  stop(): Promise<void> {
    return stop(this.#child)
  }
}

/** @param stateUrl Redis that the nodes share. */
export async function runCascade(
  context: Context,
  {
    stateUrl,
    keys,
    isGuarded,
    phases,
  }: { stateUrl: string; keys: string; isGuarded: boolean; phases: readonly Phase[] },
): Promise<Run> {
  const endpoint = new Endpoint()
  const servers: ServerProcess[] = []
  const agent = new Agent({ keepAlive: true })
  try {
    await endpoint.behave('healthy')
    for (let index = 0; index < 3; index++) {
      const command = holdfastCommand(`cascade-${index}`, 'cascade.ts', `${context.scratchDir}/cascade-${index}`)
      const env = {
        ...command.env,
        HOLDFAST_STATE_URL: stateUrl,
        HOLDFAST_KEYS: keys,
        CASCADE_MODEL_URL: `http://127.0.0.1:${endpoint.port}/`,
        CASCADE_GUARDED: isGuarded ? '1' : '0',
      }
      const first = (port: number) => ({
        bytes: Buffer.from(`GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`),
        accept: (head: { status: number }) => head.status === 200,
      })
      servers.push(await startServer({ ...command, env }, { cores: context.cores, first }))
    }
    const ports = servers.map(({ port }) => port)
    await drive(ports, agent, 2000) // warm-up
    const samples: Sample[] = []
    const phasesAtMs: number[] = []
    const startMs = performance.now()
    const totalMs = phases.reduce((sum, { durationMs }) => sum + durationMs, 0)
    const driving = drive(ports, agent, totalMs, (sample) => samples.push(sample))
    for (const { behaviour, durationMs } of phases) {
      const begunMs = performance.now()
      await endpoint.behave(behaviour)
      phasesAtMs.push(performance.now() - startMs)
      await wait(durationMs - (performance.now() - begunMs))
    }
    await driving
    return { samples, phasesAtMs }
  } finally {
    agent.destroy()
    await Promise.all(servers.map((server) => server.stop()))
    await endpoint.stop()
  }
}

/** Calls every tool of every node at random times (Poisson), whether or not earlier calls were answered. */
async function drive(
  ports: readonly number[],
  agent: Agent,
  durationMs: number,
  onSample: (sample: Sample) => void = () => undefined,
): Promise<void> {
  const startMs = performance.now()
  const open = new Set<Promise<void>>()
  const caller = async (tool: Tool, node: number): Promise<void> => {
    const next = (): number => (-Math.log(1 - Math.random()) * 1000) / rates[tool]
    for (let atMs = next(); atMs < durationMs; atMs += next()) {
      const restMs = startMs + atMs - performance.now()
      if (restMs > 1) await wait(restMs)
      const call = callOnce(ports[node]!, agent, tool).then((outcome) =>
        onSample({ tool, node, atMs, latencyMs: performance.now() - startMs - atMs, outcome }),
      )
      open.add(call)
      void call.finally(() => open.delete(call))
    }
  }
  await Promise.all(ports.flatMap((_, node) => (Object.keys(rates) as Tool[]).map((tool) => caller(tool, node))))
  await Promise.all(open)
}

async function callOnce(port: number, agent: Agent, tool: Tool): Promise<Sample['outcome']> {
  const patience = AbortSignal.timeout(patienceMs)
  try {
    const { status, body } = await callTool(port, agent, tool, tool === 'add' ? { a: 1, b: 2 } : {}, patience)
    if (status === 503) return 'refused'
    if (status !== 200) return 'failed'
    if (!body.includes('"isError":true')) return 'good'
    return body.includes('not available') ? 'refused' : 'failed'
  } catch {
    return patience.aborted ? 'gave up' : 'failed'
  }
}
