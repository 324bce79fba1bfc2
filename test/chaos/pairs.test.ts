// Each store and each queue in a run of its own, on real servers: 20 s of faults under load. `npm run chaos` goes on for as long
// as is asked, with every pair.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { needs } from '../servers/shared.ts'
import type { QueueName, StoreName } from './backends/backend.ts'
import { BROKEN, type BrokenBuild } from './processes/broken.ts'
import { runChaos } from './run-chaos.ts'

await needs('redis', 'toxiproxy', 'postgres', 'dynamodb', 'rabbitmq', 'kafka', 'elasticmq')

const SEED = 20_261_123
const RUN_TIMEOUT_MS = 300_000

let dir: string
beforeAll(async () => void (dir = await mkdtemp(join(tmpdir(), 'holdfast-chaos-'))))
afterAll(() => rm(dir, { recursive: true, force: true }))

const PAIRS: [StoreName, QueueName][] = [
  ['sqlite', 'store'],
  ['postgres', 'store'],
  ['postgres', 'rabbitmq'],
  ['postgres', 'kafka'],
  ['dynamodb', 'sqs'],
  ['dynamodb', 'rabbitmq'],
]
test.each(PAIRS)(
  'on %s, rung for by %s: whatever is killed, paused or cut off, every task ends once, as its holder said',
  async (store, queue) => {
    const history = join(dir, `${store}-${queue}.jsonl`)
    const { problems, counts, faults } = await runChaos({ store, queue, seed: SEED, seconds: 20, history })
    expect(problems).toEqual([])
    expect(counts.takeovers).toBeGreaterThan(0)
    expect(counts.tasks).toBeGreaterThan(20)
    expect(counts.completed).toBeGreaterThan(counts.failed)
    expect(Object.values(faults).reduce((sum, { hits }) => sum + hits, 0)).toBeGreaterThan(0)
  },
  RUN_TIMEOUT_MS,
)

/** What each broken build must be found by. */
const FOUND_BY: Record<BrokenBuild, string> = {
  'no-fence': "a task ends once|the result is the holder's|steps are recorded once",
  'ack-before-commit': 'a task stays readable',
  'no-sweeper': 'every acknowledged task ends',
  'lease-not-renewed': 'undisturbed workers keep their tasks',
}
test.each(Object.keys(BROKEN) as BrokenBuild[])(
  'the same run finds the build that is broken: %s',
  async (build) => {
    const history = join(dir, `${build}.jsonl`)
    const { problems } = await runChaos({ store: 'sqlite', queue: 'store', seed: SEED, seconds: 12, history, build })
    expect(problems.filter((problem) => new RegExp(`^(${FOUND_BY[build]}): `).test(problem))).not.toEqual([])
  },
  RUN_TIMEOUT_MS,
)
