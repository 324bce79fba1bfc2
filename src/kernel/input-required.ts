import type { Invocation, Outcome } from './invocation.ts'
import type { ClientRequest } from './question.ts'

/** The answer to a request whose client is to be asked (MCP 2026-07-28, `InputRequiredResult`). */
export function toInputRequired(
  { services: { telemetry } }: Invocation,
  requests: ReadonlyMap<string, ClientRequest>,
  requestState: string,
): Outcome {
  for (const { method } of requests.values()) telemetry.count('questions', method)
  const inputRequests = Object.fromEntries(requests)
  return {
    members: `"inputRequests":${JSON.stringify(inputRequests)},"requestState":${JSON.stringify(requestState)}`,
    resultType: 'input_required',
  }
}
