import { setTimeout as sleep } from 'node:timers/promises'
import { defineTool } from 'holdfast'

/** Progress reaches clients that sent a progress token; the answer turns into a stream at the first notification. */
export const progress = defineTool({
  name: 'test_tool_with_progress',
  description: 'Reports progress at 0, 50 and 100 of 100',
  async run(_args, { progress, signal }) {
    progress(0, 100)
    await sleep(50, undefined, { signal })
    progress(50, 100)
    await sleep(50, undefined, { signal })
    progress(100, 100)
    return 'Progress was reported three times.'
  },
})

/** Logs go to the server's log, and to the client if it asked for that level. */
export const logging = defineTool({
  name: 'test_tool_with_logging',
  description: 'Writes three log messages while it works',
  async run(_args, { log, signal }) {
    log.info('Tool execution started')
    await sleep(50, undefined, { signal })
    log.info('Tool processing data')
    await sleep(50, undefined, { signal })
    log.info('Tool execution completed')
    return 'Three messages were logged.'
  },
})

/** Fields beside the message reach the client as structured data. */
export const loggingOnce = defineTool({
  name: 'test_logging_tool',
  description: 'Writes a log message at each of four levels',
  run(_args, { log }) {
    log.debug('A detail')
    log.info('A fact')
    log.warning('A worry', { threshold: 3 })
    log.error('A failure')
    return 'Four messages were logged.'
  },
})

/**
 * Ends the connection but not the call. The client reconnects with the id of the last event it saw, and finds the result
 * on the resumed stream: a long call survives proxies that cut long connections.
 */
export const reconnection = defineTool({
  name: 'test_reconnection',
  description: 'Closes its connection, then answers on the stream that the client resumes',
  async run(_args, { closeStream, log, signal }) {
    log.info('The connection closes now; reconnect for the result.')
    closeStream(50)
    await sleep(100, undefined, { signal })
    return 'This was sent after the connection had closed.'
  },
})

/** Every client that listens hears that the list changed, whichever node it is connected to. */
export const toolChange = defineTool({
  name: 'test_trigger_tool_change',
  description: 'Tells clients that the list of tools changed',
  run(_args, { notify }) {
    notify.toolsChanged()
    return 'Clients that listen were told.'
  },
})

/** The same for prompts. */
export const promptChange = defineTool({
  name: 'test_trigger_prompt_change',
  description: 'Tells clients that the list of prompts changed',
  run(_args, { notify }) {
    notify.promptsChanged()
    return 'Clients that listen were told.'
  },
})

/** Only clients that subscribed to this URI hear of it. */
export const resourceUpdate = defineTool({
  name: 'test_trigger_resource_update',
  description: 'Tells subscribers that test://watched-resource changed',
  run(_args, { notify }) {
    notify.resourceUpdated('test://watched-resource')
    return 'Subscribers were told.'
  },
})
