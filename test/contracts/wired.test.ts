import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
/** The suites that a backend of a port must be held by, plain and under faults. */
const SUITES: Readonly<Record<string, readonly string[]>> = {
  'state-store.ts': ['stateStoreContract(', 'stateStoreFaultContract('],
  'event-bus.ts': ['eventBusContract(', 'eventBusFaultContract('],
  'task-store.ts': ['taskStoreContract(', 'taskStoreFaultContract('],
  'task-queue.ts': ['taskQueueContract('],
  'message-source.ts': ['messageSourceContract('],
  'artifact-store.ts': ['artifactStoreContract(', 'artifactStoreFaultContract('],
}
const backends = globSync(
  'src/backends/*/{state-store,event-bus,task-store,task-queue,message-source,artifact-store}.ts',
  {
    cwd: ROOT,
  },
)

test('there are backends to look at', () => {
  expect(backends.length).toBeGreaterThan(11)
})

test.each(backends)('%s is held by the contract suites of its port', (file) => {
  const [, , backend = '', port = ''] = file.split('/')
  const wiring = globSync(`test/contracts/${backend}{,-queue}{.test,}.ts`, { cwd: ROOT })
    .map((path) => readFileSync(join(ROOT, path), 'utf8'))
    .join('\n')
  for (const suite of SUITES[port]!) expect(wiring, suite).toContain(suite)
})
