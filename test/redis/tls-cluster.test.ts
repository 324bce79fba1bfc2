import { expect, test } from 'vitest'
import { startRedis } from '../servers/redis.ts'
import { needs } from '../servers/shared.ts'
import { eventually } from '../clients/eventually.ts'
import { bytes, listen, open } from './support.ts'

await needs('redis')

test('a cluster is reached over TLS, its nodes as well as the one that the URL names', async () => {
  await using node = await startRedis({ tls: true, cluster: true, args: ['--tls-cluster', 'yes'] })
  await node.command('CLUSTER', 'ADDSLOTSRANGE', 0, 16_383)
  await eventually(async () => String(await node.command('CLUSTER', 'INFO'))).toContain('cluster_state:ok')
  await using opened = await open(`rediss+cluster://${node.host}:${node.port}`, { ca: node.caFile! })
  expect(opened.told).toEqual(['up'])
  await opened.state.set('a', bytes('x'), { ttlMs: 60_000 })
  expect(await opened.state.delete(['a', 'b'])).toBe(1)
  const ear = await listen(opened, 'news')
  await opened.bus.publish('news', bytes('hello'))
  await eventually(() => ear.heard).toEqual(['hello'])
  await expect(open(`rediss+cluster://${node.host}:${node.port}`)).rejects.toMatchObject({
    code: 'invalid_option',
    message: expect.stringContaining('certificate') as string,
  })
  await node.command('CONFIG', 'SET', 'requirepass', 'sesame')
  await expect(open(`rediss+cluster://:wrong@${node.host}:${node.port}`, { ca: node.caFile! })).rejects.toMatchObject({
    code: 'invalid_option',
    message: expect.stringContaining('password is wrong') as string,
  })
})
