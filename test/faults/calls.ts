// Calls of tools, each with a bound.
import { modernInit, send, type Reply } from '../clients/raw.ts'

/** No answer of a node may take longer. */
const ANSWER_MS = 30_000
/** For each request. */
export const bounded = () => ({ signal: AbortSignal.timeout(ANSWER_MS) })

/** A call of a tool at 2026-07-28. */
export function call(
  url: string,
  name: string,
  args: object = {},
  { capabilities = {}, meta = {}, leg = {} }: { capabilities?: object; meta?: object; leg?: object } = {},
): Promise<Reply> {
  const init = modernInit(
    'tools/call',
    { name, arguments: args, ...leg },
    { meta: { clientCapabilities: capabilities } },
  )
  const body = JSON.parse(init.body as string) as { params: { _meta: object } }
  Object.assign(body.params._meta, meta)
  return send(url, { ...init, ...bounded(), body: JSON.stringify(body) })
}
