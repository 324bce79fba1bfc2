import { S3_CREDENTIALS, startVersitygw } from '../../servers/versitygw.ts'
import type { Backend } from '../backend.ts'

const UNAVAILABLE = { gone: { fails: 'state_unavailable' } } as const

/** The artifact store. */
export const s3: Backend = {
  label: 'S3',
  async start(toxiproxy, stack) {
    process.env['AWS_ACCESS_KEY_ID'] = S3_CREDENTIALS.accessKeyId
    process.env['AWS_SECRET_ACCESS_KEY'] = S3_CREDENTIALS.secretAccessKey
    const server = stack.use(await startVersitygw())
    const link = await toxiproxy.proxy('s3', server)
    const endpoint = encodeURIComponent(`http://127.0.0.1:${link.port}`)
    const timeouts = 'connectTimeoutMs=500&commandTimeoutMs=1000&transferTimeoutMs=2000'
    const artifacts = `s3://${server.bucket}?region=us-east-1&endpoint=${endpoint}&${timeouts}`
    return { links: [link], options: { artifacts } }
  },
  boundMs: 3500,
  slowMs: 8000,
  recoverMs: 3000,
  attemptsPerSecond: 20,
  cells: {
    artifactPut: { gone: { fails: 'isError' }, words: 'an `isError` result that says so' },
    artifactGet: UNAVAILABLE,
    bigResult: { gone: 'works', words: 'is sent whole' },
    bigTask: { gone: 'waits' },
  },
}
