/** `tools/list` of a thousand tools, beside the plain server sending the same bytes. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Context, SectionReport } from '../lib/context.ts'
import { exchange } from '../lib/load/connection.ts'
import { listMessage, postBytes } from '../lib/load/request.ts'
import { messageOf } from '../lib/load/verify.ts'
import { startServer } from '../lib/server-process.ts'
import { whole } from '../lib/table.ts'
import { firstRequest, holdfastCommand, reference } from '../lib/targets.ts'
import type { Target } from '../lib/targets.ts'
import { throughput } from './throughput.ts'

/** `undefined` where Holdfast is not among the targets: there is nothing to compare then. */
export async function toolList(context: Context): Promise<SectionReport | undefined> {
  const plain = context.targets.find(({ name }) => name === reference)!
  const listed = context.targets
    .filter(({ label }) => label === 'Holdfast')
    .map((target) => ({
      ...target,
      command: holdfastCommand(target.name, 'thousand-tools.ts', join(context.scratchDir, 'data')),
    }))
  const modern = listed.find(({ wire }) => wire.mode === 'envelope')
  if (modern === undefined) return undefined
  const result = await firstPage(context, modern)
  const path = join(context.scratchDir, 'list-result.json')
  writeFileSync(path, JSON.stringify(result))
  const command = { ...plain.command, env: { BENCH_LIST_RESULT: path } }
  const title = `tools/list of ${whole(result.tools.length)} tools, ${whole(JSON.stringify(result).length)} bytes`
  return throughput({ ...context, targets: [{ ...plain, command }, ...listed] }, 'list', title)
}

async function firstPage(context: Context, target: Target): Promise<{ tools: unknown[] }> {
  const { wire, path } = target
  const server = await startServer(target.command, { cores: context.cores, first: firstRequest(target, 'list') })
  try {
    const { head, body } = await exchange(server.port, postBytes(listMessage(1), wire, { port: server.port, path }))
    return (messageOf(head, body) as { result: { tools: unknown[] } }).result
  } finally {
    await server.stop()
  }
}
