import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, test } from 'vitest'
import { openFileArtifacts } from '../../src/backends/filesystem/artifact-store.ts'
import { systemClock } from '../../src/ports/clock.ts'
import {
  artifactStoreContract,
  artifactStoreFaultContract,
  FaultyArtifactStore,
  seededFaults,
} from '../../src/testing/index.ts'

const dir = mkdtempSync(join(tmpdir(), 'holdfast-artifacts-'))
afterAll(() => rmSync(dir, { recursive: true }))

const runner = { describe, test, beforeEach, afterEach }
const open = () => openFileArtifacts(`file:${dir}`, systemClock)
const late = [{ delayMs: 0 }, { delayMs: 1 }, { delayMs: 3 }]

artifactStoreContract(runner, 'filesystem', async () => ({ store: open(), there: open() }))
artifactStoreFaultContract(runner, 'filesystem', async () => ({ store: open(), there: open() }))
artifactStoreContract(runner, 'filesystem, late at random', async () => ({
  store: new FaultyArtifactStore(open(), seededFaults(1, 0.5, late)),
  there: open(),
}))
