import { connect } from 'holdfast/testing'
import { expect, test } from 'vitest'
import server from './isolated-models.ts'

test.each(['thread', 'process'])(
  "a model that is called in a %s is cached there, held to the worker's limits, and counted by the worker",
  async (kind) => {
    await using client = await connect(server, {
      principal: { subject: 'ann' },
      runtime: { worker: { definition: new URL('./isolated-models.ts', import.meta.url) } },
    })
    const ask = async (prompt: string): Promise<string> => (await client.callTool(kind, { prompt })).text
    const first = await ask('a')
    expect(first).toMatch(/^call 1 of process \d+$/)
    if (kind === 'process') expect(first).not.toContain(String(process.pid))
    expect(await ask('a')).toBe(first)
    expect(await ask('b')).toContain('call 2')
    // 400 tokens each were used, so that 200 are left of 1,000, and 500 of output alone may be wanted.
    expect(await ask('c')).toContain('The limit "principal-3600s-llm-tokens"')
    expect(await ask('a')).toBe(first)
    const { body } = await client.runtime.metrics()
    for (const line of [
      'holdfast_llm_calls_total{model="apart",operation="generate",outcome="called"} 2',
      'holdfast_llm_calls_total{model="apart",operation="generate",outcome="cached"} 2',
      'holdfast_llm_tokens_total{model="apart",kind="output",source="model"} 600',
      'holdfast_limit_decisions_total{limit="principal-3600s-llm-tokens",outcome="allowed"} 2',
    ])
      expect(body).toContain(line)
  },
)
