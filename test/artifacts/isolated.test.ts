import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test, vi } from 'vitest'
import { Collector } from '../../src/artifacts/collector.ts'
import { connect } from '../../src/testing/index.ts'
import server from './isolated-writer.ts'

const dir = mkdtempSync(join(tmpdir(), 'holdfast-isolated-'))
afterAll(() => rmSync(dir, { recursive: true }))

test.each(['thread', 'process'])(
  'a worker collects once a tool in a %s has written, and not before',
  async (kind) => {
    using starts = vi.spyOn(Collector.prototype, 'start')
    await using client = await connect(server, {
      runtime: {
        worker: { definition: new URL('./isolated-writer.ts', import.meta.url), pollMs: 200 },
        artifacts: `file:${dir}/artifacts`,
      },
    })
    await client.callTool('plain')
    expect(starts).not.toHaveBeenCalled()
    await client.callTool(`${kind}-write`)
    expect(starts).toHaveBeenCalled()
  },
  40_000,
)
