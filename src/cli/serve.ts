import { resolveOptions, type ResolvedOptions } from '../compose/options.ts'
import { wire, type Listening, type Runtime } from '../compose/runtime.ts'
import { loadDefinition } from './load-definition.ts'
import type { ServeFlags } from './run.ts'

/** `holdfast serve`: resolves when the server has ended. */
export async function serve(path: string, flags: ServeFlags): Promise<void> {
  const { server, options: code } = await loadDefinition(path)
  const options = resolveOptions(code, process.env, {
    ...(flags.port === undefined ? {} : { port: flags.port }),
    ...(flags.host === undefined ? {} : { host: flags.host }),
    ...(flags.stdio === true ? { logFd: 2 } : {}),
  })
  const runtime = await wire(server, options)
  const stopped = stopOnSignal(runtime)
  if (flags.stdio === true) {
    await Promise.race([runtime.serveStdio(), stopped])
    await runtime.close()
    return
  }
  const listening = await runtime.listen()
  process.stdout.write(
    flags.json === true ? startJson(listening, options) : startText(server.name, server.version, listening, options),
  )
  await stopped
}

/** SIGTERM and SIGINT end in order; a second one ends at once. */
function stopOnSignal(runtime: Runtime): Promise<void> {
  return new Promise((resolve, reject) => {
    let isStopping = false
    const stop = (): void => {
      if (isStopping) process.exit(1)
      isStopping = true
      runtime.close().then(resolve, reject)
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
}

const base = ({ url }: Listening): string => new URL(url).origin

function startJson(listening: Listening, { dataDir }: ResolvedOptions): string {
  const origin = base(listening)
  return `${JSON.stringify({ url: listening.url, host: listening.host, port: listening.port, livez: `${origin}/livez`, readyz: `${origin}/readyz`, metrics: `${origin}/metrics`, dataDir })}\n`
}

function startText(name: string, version: string, listening: Listening, { dataDir }: ResolvedOptions): string {
  const { url } = listening
  const origin = base(listening)
  const key = name.replaceAll(/[^A-Za-z0-9_-]/g, '-')
  return `
  ${name} ${version}

  MCP endpoint  ${url}
  health        ${origin}/livez  ${origin}/readyz
  metrics       ${origin}/metrics
  data folder   ${dataDir === false ? 'none' : dataDir}

  Connect
    Claude Code    claude mcp add --transport http ${key} ${url}
    VS Code        code --add-mcp '${JSON.stringify({ name: key, type: 'http', url })}'
    MCP Inspector  npx @modelcontextprotocol/inspector --transport http --server-url ${url}

`
}
