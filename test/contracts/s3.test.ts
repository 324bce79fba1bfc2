import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, test, vi } from 'vitest'
import { openS3Artifacts } from '../../src/backends/s3/artifact-store.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { artifactStoreContract, artifactStoreFaultContract } from '../../src/testing/index.ts'
import { given } from '../servers/catalog.ts'
import { sharedServer } from '../servers/shared.ts'
import { S3_CREDENTIALS } from '../servers/versitygw.ts'

vi.setConfig({ testTimeout: 60_000 }) // a thousand objects, one request each
if (given('s3') === undefined) {
  vi.stubEnv('AWS_ACCESS_KEY_ID', S3_CREDENTIALS.accessKeyId)
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', S3_CREDENTIALS.secretAccessKey)
}
const { url } = await sharedServer('s3')
const prefixed = url.replace(/\?|$/, `/contract-${randomUUID()}$&`)

const runner = { describe, test, beforeEach, afterEach }
const create = async () => {
  const [store, there] = await Promise.all([
    openS3Artifacts(prefixed, systemClock),
    openS3Artifacts(prefixed, systemClock),
  ])
  return { store, there }
}
artifactStoreContract(runner, 'S3', create)
artifactStoreFaultContract(runner, 'S3', create)
