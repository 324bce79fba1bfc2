/** An entry of {@link ERRORS}. */
export interface ErrorEntry {
  readonly kind: 'wire' | 'config'
  readonly rpc: number
  readonly http: number
  readonly retryable: boolean
  /** What the error means, in a sentence. */
  readonly summary: string
  /** What to do about it. */
  readonly remedy: string
}

const wire = (rpc: number, http: number, retryable: boolean, summary: string, remedy: string): ErrorEntry => ({
  kind: 'wire',
  rpc,
  http,
  retryable,
  summary,
  remedy,
})
const config = (summary: string, remedy: string): ErrorEntry => ({
  kind: 'config',
  rpc: -32603,
  http: 500,
  retryable: false,
  summary,
  remedy,
})

/** JSON-RPC code of our own for a caller who has not said who it is. */
export const RPC_UNAUTHENTICATED = 40100
/** JSON-RPC code of our own for a caller who may not do what it asks for. */
export const RPC_FORBIDDEN = 40300
/** JSON-RPC code of our own for a caller over a limit. Outside the range that JSON-RPC and MCP reserve. */
export const RPC_LIMITED = 42900
/** JSON-RPC code of our own for a server that can't take the request now. */
export const RPC_OVERLOADED = 50300
/** JSON-RPC code of our own where something outside did not answer in time. */
export const RPC_TIMEOUT = 50400

/**
 * Every error that Holdfast itself raises, in one table. `docs/errors.md` is generated from it, and a test holds the
 * two to each other.
 *
 * `rpc` is the JSON-RPC code (a code of the specification, or one of ours outside −32768…−32000); `http` is the status
 * of an answer whose body holds this error alone; `retryable` tells a client whether the same request may succeed
 * later. Errors of kind `config` are thrown to the developer at start and never reach a client.
 */
export const ERRORS = {
  parse_error: wire(
    -32700,
    400,
    false,
    'The body is not valid UTF-8 JSON.',
    'Send one JSON-RPC 2.0 message, encoded as UTF-8.',
  ),
  invalid_request: wire(
    -32600,
    400,
    false,
    'The body is JSON, but not a JSON-RPC 2.0 message that may be sent here.',
    'The message names the field that is wrong.',
  ),
  method_not_found: wire(
    -32601,
    404,
    false,
    'The method does not exist, or this server does not offer it.',
    'Ask `server/discover` or `initialize` what the server offers.',
  ),
  invalid_params: wire(
    -32602,
    200,
    false,
    'The parameters do not fit the method.',
    'The message names the parameter and what was expected.',
  ),
  invalid_meta: wire(
    -32602,
    400,
    false,
    'A required field of `params._meta` is missing or malformed.',
    'Send `io.modelcontextprotocol/protocolVersion` and `io.modelcontextprotocol/clientCapabilities` with each request.',
  ),
  internal_error: wire(
    -32603,
    200,
    false,
    'The server failed.',
    'The request id leads to the cause in the server log.',
  ),
  handler_aborted: wire(-32603, 200, true, 'The call was ended before its handler returned.', 'Call again.'),
  resource_not_found: wire(
    -32602,
    200,
    false,
    'No resource has this URI.',
    'List the resources and templates. (2025 revisions: code -32002.)',
  ),
  header_mismatch: wire(
    -32020,
    400,
    false,
    'A header is missing, malformed, or says something other than the body.',
    'Send `MCP-Protocol-Version`, `Mcp-Method`, `Mcp-Name` and `Mcp-Param-*` equal to the body.',
  ),
  unsupported_protocol_version: wire(
    -32022,
    400,
    false,
    'The protocol revision is not served here.',
    'Use one of `data.supported`.',
  ),
  not_found: wire(
    -32600,
    404,
    false,
    'Nothing is served at this path.',
    'The MCP endpoint is printed at start; the default is /mcp.',
  ),
  method_not_allowed: wire(
    -32600,
    405,
    false,
    'The HTTP method is not served here.',
    'POST to the MCP endpoint; the Allow header lists the rest.',
  ),
  forbidden_host: wire(
    -32600,
    403,
    false,
    'The Host header names a host that is not allowed.',
    'Add the host to `allowedHosts` (HOLDFAST_ALLOWED_HOSTS).',
  ),
  forbidden_origin: wire(
    -32600,
    403,
    false,
    'The Origin header names an origin that is not allowed.',
    'Add the origin to `allowedOrigins` (HOLDFAST_ALLOWED_ORIGINS).',
  ),
  unauthenticated: wire(
    RPC_UNAUTHENTICATED,
    401,
    false,
    'The request carries no credential, or one that is not good.',
    'Get a token as `WWW-Authenticate` says, and send it as `Authorization: Bearer …`.',
  ),
  malformed_credentials: wire(
    -32600,
    400,
    false,
    'The credential is malformed, is sent more than once, or stands in the query.',
    'Send one credential, as `Authorization: Bearer …` or `X-API-Key`.',
  ),
  insufficient_scope: wire(
    RPC_FORBIDDEN,
    403,
    false,
    'The caller lacks a scope that the operation needs.',
    'Get a token with the scopes that `WWW-Authenticate` names.',
  ),
  auth_unavailable: wire(
    RPC_OVERLOADED,
    503,
    true,
    'Who is calling can not be found out now: the authorization server does not answer as it should.',
    'Try again after `retryAfterMs`.',
  ),
  unsupported_media_type: wire(
    -32600,
    415,
    false,
    'The body is not application/json.',
    'Send `Content-Type: application/json`.',
  ),
  not_acceptable: wire(
    -32600,
    406,
    false,
    'The client accepts neither application/json nor text/event-stream.',
    'Send `Accept: application/json, text/event-stream`.',
  ),
  body_too_large: wire(-32600, 413, false, 'The body is larger than `maxBodyBytes`.', 'Send less, or raise the bound.'),
  body_too_slow: wire(-32600, 408, true, 'The body did not arrive within `bodyTimeoutMs`.', 'Send it again, faster.'),
  headers_too_large: wire(
    -32600,
    431,
    false,
    'The request headers are larger than `maxHeaderBytes`.',
    'Send fewer or shorter headers.',
  ),
  json_too_deep: wire(-32600, 400, false, 'The JSON nests deeper than `maxJsonDepth`.', 'Flatten the message.'),
  json_too_many_elements: wire(
    -32600,
    400,
    false,
    'The JSON has more values than `maxJsonElements`.',
    'Send less at once.',
  ),
  json_string_too_long: wire(-32600, 400, false, 'A string is longer than `maxStringBytes`.', 'Send less at once.'),
  batch_too_large: wire(-32600, 400, false, 'The batch has more messages than `maxBatch`.', 'Split the batch.'),
  session_required: wire(
    -32600,
    400,
    false,
    'The request carries no `Mcp-Session-Id`, and no `_meta` of revision 2026-07-28.',
    'Send `initialize` first, or use revision 2026-07-28.',
  ),
  session_not_found: wire(
    -32600,
    404,
    false,
    'The session does not exist, was ended, or is not yours.',
    'Send `initialize` again.',
  ),
  too_many_streams: wire(
    RPC_LIMITED,
    429,
    true,
    'The caller holds as many open streams as it may.',
    'Close one, or try again later.',
  ),
  rate_limited: wire(
    RPC_LIMITED,
    429,
    true,
    'A limit on requests is used up; `data.limit` names it.',
    'Try again after `retryAfterMs`.',
  ),
  cost_above_limit: wire(
    -32602,
    200,
    false,
    'The call costs more than its limit ever allows at once; `data.limit` names it.',
    'Ask for less in one call.',
  ),
  limits_unavailable: wire(
    RPC_OVERLOADED,
    503,
    true,
    'The shared state does not answer, and the limit `data.limit` lets nothing pass without it.',
    'Try again after `retryAfterMs`.',
  ),
  idempotency_key_reused: wire(
    -32602,
    200,
    false,
    'The idempotency key was used with other arguments.',
    'Use a new key for a new call.',
  ),
  overloaded: wire(
    RPC_OVERLOADED,
    503,
    true,
    'The node, or the tool, has as much work as it can take.',
    'Try again after `retryAfterMs`.',
  ),
  draining: wire(RPC_OVERLOADED, 503, true, 'The node is shutting down.', 'Try again: another node will answer.'),
  client_capability_missing: wire(
    -32021,
    400,
    false,
    'The request needs something of the client that it does not declare: to be asked, or to follow tasks.',
    'Use a client that declares `data.requiredCapabilities`. (2025 revisions: a result with `isError`; of prompts and resources `-32603`.)',
  ),
  client_refused: wire(
    -32603,
    200,
    false,
    'The client answered a question of the server with an error, with what does not fit, or not in time.',
    'See the client: what it refused, and why.',
  ),
  task_not_found: wire(
    -32602,
    200,
    false,
    "No task of the caller has this id: it never existed, is not kept any more, or is another caller's.",
    'Use the `taskId` that came with the task; a result is kept for `ttlMs`.',
  ),
  handler_error: wire(
    -32603,
    200,
    false,
    'The handler answered with a JSON-RPC error of its own (`protocolError`); the code is the one that it gave.',
    'The message says what; ask who runs the server.',
  ),
  request_state_invalid: wire(
    -32602,
    200,
    false,
    'The `requestState` was not made by this server, or was changed on the way.',
    'Send back exactly the `requestState` that came with the questions, or call again without it.',
  ),
  request_state_foreign: wire(
    -32602,
    200,
    false,
    'The `requestState` was given to another caller.',
    'Call again, without it.',
  ),
  request_state_expired: wire(
    -32602,
    200,
    false,
    'The questions were not answered within `questionTtlMs`.',
    'Call again without `requestState` and `inputResponses`.',
  ),
  request_state_mismatch: wire(
    -32602,
    200,
    false,
    'The `requestState` belongs to another request.',
    'Repeat the request as it was first sent: same method, name and arguments.',
  ),
  request_state_used: wire(
    -32602,
    200,
    false,
    'The `requestState` was used before, with other answers.',
    'Go on from the newest `requestState`, or call again without it.',
  ),
  state_unavailable: wire(
    RPC_OVERLOADED,
    503,
    true,
    'The state that nodes share cannot be reached now, and the request needs it.',
    'Try again after `retryAfterMs`.',
  ),
  // Answered 200: the node is well, and a balancer must not take it out for what lies behind it.
  dependency_unavailable: wire(
    RPC_OVERLOADED,
    200,
    true,
    'Something outside that the request needs is left alone for now: too many calls of it have failed, or as many are under way as may be.',
    'Try again after `retryAfterMs`. `data.dependency` names it; its operator sees why in the metrics of dependencies.',
  ),
  dependency_timeout: wire(
    RPC_TIMEOUT,
    200,
    false,
    'Something outside that the request needs did not answer in time. Whether it has done what it was asked for is not known.',
    'Try again where doing it twice does no harm. `timeoutMs` of the dependency is the time that it has.',
  ),
  artifact_too_large: wire(
    -32602,
    200,
    false,
    'The artifact is larger than may be read, or written, at once.',
    'To read: download `data.url`, where it is given; by ranges, if need be. To write: raise `maxArtifactBytes`.',
  ),
  stream_interrupted: wire(-32603, 200, true, 'The node that ran the call is gone; its answer is lost.', 'Call again.'),

  invalid_definition: config(
    'A server, tool, resource or prompt is defined wrongly.',
    'The message names the definition, the field, and what it must be.',
  ),
  invalid_option: config(
    "An option, flag or variable has a value that it can't have.",
    'The message names it, the value, and what it must be.',
  ),
  unknown_option: config('An option, flag or variable does not exist.', 'The message names the nearest one that does.'),
  port_in_use: config(
    'The port is taken by another process.',
    'Choose another with --port or PORT, or stop that process.',
  ),
  invalid_module: config(
    'The module does not export a server definition.',
    'Export the result of defineServer(…) by default.',
  ),
  invalid_ask: config(
    'A handler asks for something that cannot be asked, or uses a name twice in one call.',
    'The message names the question or step, and what is wrong with it.',
  ),
  invalid_cache: config(
    'A value is cached under a key, with options or tags that it cannot be cached with, or is one that JSON cannot say.',
    'The message names the cache, and what is wrong.',
  ),
  replay_diverged: config(
    'A handler that ran again after a question did not ask the same things under the same names.',
    'Make names depend on the arguments and on recorded steps alone, not on time or chance.',
  ),
  journal_too_large: config(
    'A call has recorded more steps and answers than may be kept for it.',
    'Record references instead of contents.',
  ),
  task_failed: wire(
    -32603,
    200,
    false,
    'The task behind a call has failed, has expired, or was cancelled.',
    'The message says which. The log has the details, under the id of the task.',
  ),
  task_lost: config(
    'The reason of `ctx.signal` when a task was taken from its worker: another one has it, or may have it.',
    'Stop; nothing that the handler still does is recorded.',
  ),
  isolate_died: config(
    'The thread or process that a tool with `isolation` ran in has died in an attempt.',
    'The message says of what. The attempt is charged as a crash, and tried again, if the task has crashes left (`maxCrashes`).',
  ),
  worker_stuck: config(
    'Handlers that ignore `ctx.signal` hold half of the slots of a worker.',
    'Start the process anew; pass the signal on to whatever waits, or give the tool `isolation`.',
  ),
  task_timeout: config(
    'The reason of `ctx.signal` when an attempt at a task has taken longer than its `timeoutMs`.',
    'Stop; the task is tried again, if it has attempts left.',
  ),
  task_cancelled: config(
    'The reason of `ctx.signal` when the owner of a task has cancelled it, or its time is up.',
    'Stop; what the handler still returns is dropped, unless it is done.',
  ),
  trigger_message_refused: config(
    'A message of a trigger, or a scheduled time, can not become a task: it has no id, is not JSON, or does not fit the tool.',
    'The message says why; see what its sender sends, and `toArguments` of the trigger. It lies where dead letters go.',
  ),
  trigger_time_missed: config(
    'A scheduled time has passed without a task: no worker ran, or none could reach the task store in time.',
    'Raise `catchUpMs` of the schedule, where such a time is to be made up for later.',
  ),
  suspended: config(
    'The reason of `ctx.signal` when a call was put aside to ask the client; the handler runs again with the answer.',
    'Let go of what the handler holds; nothing else is to be done.',
  ),
  backend_mismatch: config(
    'What exists in a backend (a queue, a topic, a table) differs from what is needed.',
    'The message names what differs: change it or the URL, or delete it where nothing is lost by that.',
  ),
  backend_failed: config('A backend answered with an error.', 'The log holds the cause.'),
  closed: config('The runtime, store or bus was used after close().', 'Create a new one.'),
} as const satisfies Record<string, ErrorEntry>

/** The name of an error in {@link ERRORS}; sent to clients as `error.data.code`. */
export type ErrorCode = keyof typeof ERRORS
