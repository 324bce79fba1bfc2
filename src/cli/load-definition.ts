import { existsSync, readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { RuntimeOptions } from '../compose/options.ts'
import type { ServerDefinition } from '../define/server.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'

/** What a definition module says. */
export interface LoadedDefinition {
  server: ServerDefinition
  options: RuntimeOptions
}

/** @throws {HoldfastError} `invalid_module` where the file is missing, can't be run, or exports no server. */
export async function loadDefinition(path: string): Promise<LoadedDefinition> {
  const file = resolve(path)
  if (!existsSync(file)) throw new HoldfastError('invalid_module', `There is no file ${file}.`)
  let module: { default?: { kind?: unknown }; options?: RuntimeOptions }
  try {
    module = (await import(pathToFileURL(file).href)) as typeof module
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause
    const manifest = cause instanceof SyntaxError && !('code' in cause) ? commonJsManifest(file) : undefined
    if (manifest !== undefined)
      throw new HoldfastError(
        'invalid_module',
        `${path} can't be loaded: ${manifest} says \`"type": "commonjs"\`, as \`npm init\` writes it, and the file is an ES module. Set \`"type": "module"\` there (\`npm pkg set type=module\`).`,
        { cause },
      )
    const remedy =
      (cause as NodeJS.ErrnoException).code === 'ERR_UNKNOWN_FILE_EXTENSION'
        ? ' This Node does not run TypeScript: use Node 22.18 or later.'
        : (cause as NodeJS.ErrnoException).code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX'
          ? ' Node strips types and no more: enums, parameter properties and namespaces need a build.'
          : ''
    throw new HoldfastError(
      'invalid_module',
      `${path} can't be loaded: ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}${remedy}`,
      { cause },
    )
  }
  if (module.default?.kind !== 'server')
    throw new HoldfastError(
      'invalid_module',
      `${path} does not export a server. Write: export default defineServer({ … })`,
    )
  return { server: module.default as unknown as ServerDefinition, options: module.options ?? {} }
}

/** The package.json by which Node takes a file for CommonJS; `undefined` where none does. */
function commonJsManifest(file: string): string | undefined {
  const manifest = /\.[jt]s$/.test(file) ? findPackageJSON(pathToFileURL(file)) : undefined
  // Where there is none, Node gives the file itself.
  if (manifest === undefined || manifest === file) return undefined
  const { type } = JSON.parse(readFileSync(manifest, 'utf8')) as { type?: unknown }
  return type === 'commonjs' ? manifest : undefined
}
