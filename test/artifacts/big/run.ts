// `npm run test:big-artifacts`: an artifact of a gigabyte, written and read, in a folder and in S3, within its bound of memory.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { S3_CREDENTIALS, startVersitygw } from '../../servers/versitygw.ts'
import { measure } from './measure.ts'

const { values } = parseArgs({
  options: {
    mebibytes: { type: 'string', default: '1024' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  console.log(`Writes a big artifact and reads it, in a folder and in S3, and fails where a process needs more than 64 MB for it.

  --mebibytes N  size of the artifact (default 1024)`)
  process.exit(0)
}

const BOUND = 64e6
const bytes = Number(values.mebibytes) * 1024 * 1024
const dir = await mkdtemp(join(tmpdir(), 'holdfast-big-'))
await using s3 = await startVersitygw()
process.env['AWS_ACCESS_KEY_ID'] = S3_CREDENTIALS.accessKeyId
process.env['AWS_SECRET_ACCESS_KEY'] = S3_CREDENTIALS.secretAccessKey
try {
  for (const [name, url] of [
    ['folder', `file:${dir}/artifacts`],
    ['S3', s3.url],
  ] as const) {
    const { writeSeconds, readSeconds, downloadSeconds, grownBytes } = await measure(url, dir, bytes)
    const isWithin = grownBytes <= BOUND
    const rate = (seconds: number): string => `${seconds.toFixed(1)} s (${(bytes / 1e6 / seconds).toFixed(0)} MB/s)`
    console.log(
      `${isWithin ? 'ok  ' : 'FAIL'} ${name}: ${values.mebibytes} MiB written in ${rate(writeSeconds)}, read in ${rate(readSeconds)}, downloaded in ${rate(downloadSeconds)}; memory rose by ${(grownBytes / 1e6).toFixed(1)} MB`,
    )
    if (!isWithin) process.exitCode = 1
  }
} finally {
  await rm(dir, { recursive: true })
}
