import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { connect } from 'holdfast/testing'
import server from './isolated-server.ts'

test('threads and processes of tools share the cache of their worker, and hear of invalidations', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-cache-'))
  const file = join(folder, 'runs')
  const definition = new URL('./isolated-server.ts', import.meta.url)
  try {
    await using client = await connect(server, { runtime: { worker: { definition } } })
    const texts = async (...names: string[]): Promise<string[]> => {
      const found: string[] = []
      for (const name of names) found.push((await client.callTool(name, { file })).text)
      return found
    }
    const all = ['in-thread', 'in-process', 'in-place', 'in-thread']
    expect(await texts(...all)).toEqual(all.map(() => 'by in-thread'))
    await client.runtime.cache.invalidate(['all'])
    expect(await texts(...all.toReversed())).toEqual(all.map(() => 'by in-thread'))
    await client.runtime.cache.invalidate(['all'])
    expect(await texts('in-place', 'in-process')).toEqual(['by in-place', 'by in-place'])
    expect(readFileSync(file, 'utf8')).toBe('in-thread\nin-thread\nin-place\n')
    const { body } = await client.runtime.metrics()
    expect(body).toMatch(/holdfast_cache_requests_total\{cache="shared",event="store"\} [1-9]/)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
