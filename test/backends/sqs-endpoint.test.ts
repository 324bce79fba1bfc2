import { expect, test, vi } from 'vitest'
import { openSqsQueue } from '../../src/backends/sqs/task-queue.ts'
import { anything, withOptions } from '../contracts/queues.ts'
import { needs, sharedServer } from '../servers/shared.ts'
import { startToxiproxy } from '../servers/toxiproxy.ts'

await needs('toxiproxy')
const { url } = await sharedServer('sqs')

test('everything goes to the endpoint that the URL names, also where queues know themselves by another address', async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', process.env['AWS_ACCESS_KEY_ID'] ?? 'test')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', process.env['AWS_SECRET_ACCESS_KEY'] ?? 'test')
  const { searchParams } = new URL(url)
  const { hostname: host, port } = new URL(searchParams.get('endpoint')!)
  await using toxiproxy = await startToxiproxy()
  const link = await toxiproxy.proxy('sqs', { host, port: Number(port) })
  const behind = `sqs://endpoint${process.pid}?region=us-east-1&endpoint=${encodeURIComponent(`http://${link.host}:${link.port}`)}`
  const queue = await openSqsQueue(withOptions(behind, { commandTimeoutMs: 2000 }), anything)
  try {
    await queue.ensureTopology(['work'])
    await queue.ring('work', ['a'])
    await link.disable()
    await expect(queue.ring('work', ['b'])).rejects.toMatchObject({ code: 'backend_failed' })
    await link.enable()
    await queue.ring('work', ['c'])
  } finally {
    await queue.close()
  }
})
