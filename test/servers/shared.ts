// How a test file asks for servers, at its top level: outside of any test's time-out, since something may have to be installed.
import { get } from 'node:http'
import { text } from 'node:stream/consumers'
import { given, type ProgramName, type Reachable, type SharedName } from './catalog.ts'
import { HUB_VARIABLE } from './hub.ts'

/**
 * A server that all files of the run share: started when the first one asks. Keep to a prefix of keys of your own, and never
 * flush, kill or reconfigure it; for that start one yourself (`startRedis()` and its like).
 * @throws Error that names the server and the variable to set, where it can't be had.
 */
export async function sharedServer(name: SharedName): Promise<Reachable> {
  return given(name) ?? ((await ask(`/server/${name}`)) as Reachable)
}

/** Resolves when these programs are installed, so that a test can start servers of its own without waiting for that. */
export async function needs(...names: ProgramName[]): Promise<void> {
  await Promise.all(names.map((name) => ask(`/program/${name}`)))
}

/** Without an agent: no connection is kept that would outlive the file. */
async function ask(path: string): Promise<unknown> {
  const hub = process.env[HUB_VARIABLE]
  if (hub === undefined)
    throw new Error(`${HUB_VARIABLE} is not set: run this file by vitest with the repository's configuration.`)
  return new Promise((resolve, reject) => {
    get(hub + path, { agent: false }, (response) => {
      text(response).then(
        (body) => (response.statusCode === 200 ? resolve(JSON.parse(body)) : reject(new Error(body))),
        reject,
      )
    }).on('error', reject)
  })
}
