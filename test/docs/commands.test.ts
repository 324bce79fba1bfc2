import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CLI } from '../conformance/server.ts'
import { DOCUMENTS, ROOT, type Document } from './documents.ts'

const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
const help = (...args: string[]): string =>
  execFileSync(process.execPath, [...args, '--help'], { cwd: ROOT, encoding: 'utf8' })

/** Command lines of a page: lines of shell blocks, and what stands between backticks. */
function commandsOf({ code, spans }: Pick<Document, 'code' | 'spans'>): string[] {
  const blocks = code.filter(({ language }) => ['sh', 'bash', 'yaml'].includes(language)).map(({ text }) => text)
  return [...blocks.join('\n').split('\n'), ...spans].map((line) => line.split(' #')[0]!.trim())
}

const flagsIn = (text: string): string[] => [...text.matchAll(/(?<=[\s[])--?[a-zA-Z][\w-]*/g)].map(([flag]) => flag)
const helps = new Map<string, string>()
/** What a program says of itself, or '' for one that is not ours. */
function helpOf(...args: string[]): string {
  const key = args.join(' ')
  if (!helps.has(key)) helps.set(key, help(...args))
  return helps.get(key)!
}
/** Commands that a help lists: those of the program, or those of a command. */
const commandsIn = (text: string): string[] =>
  [...text.matchAll(/^ {2}([a-z][\w-]*)(?: \[| {2})/gm)].map(([, name]) => name!)

/** What is wrong with a command line, or `undefined`. */
function problemOf(line: string): string | undefined {
  const holdfast = /(?:^holdfast|npx holdfast|npm run holdfast --) ([a-z-]+)(?: ([a-z]+)(?= |$))?(.*)$/.exec(line)
  if (holdfast !== null) {
    const [, command = '', second = '', rest = ''] = holdfast
    if (!commandsIn(helpOf(CLI)).includes(command)) return `there is no command ${command}`
    const isNested = commandsIn(helpOf(CLI, command)).includes(second)
    const known = flagsIn(isNested ? helpOf(CLI, command, second) : helpOf(CLI, command))
    const unknown = flagsIn(rest).filter((flag) => !known.includes(flag))
    return unknown.length === 0 ? undefined : `holdfast ${command} has no ${unknown.join(', ')}`
  }
  const npm = /^npm (?:run )?([a-z][\w:-]*)(?: -- (.*))?$/.exec(line)
  if (npm === null) return undefined
  const [, script = '', rest] = npm
  if (['ci', 'install', 'audit', 'pack', 'run', 'exec', 'view'].includes(script)) return undefined
  if (scripts[script] === undefined) return `there is no script ${script}`
  const file = /^node (\S+\.ts)$/.exec(scripts[script])?.[1]
  if (rest === undefined || file === undefined) return undefined
  const known = [...flagsIn(helpOf(file)), '--help']
  const unknown = flagsIn(` ${rest}`).filter((flag) => !known.includes(flag))
  return unknown.length === 0 ? undefined : `npm run ${script} has no ${unknown.join(', ')}`
}

test.each(DOCUMENTS)('every command that $path mentions exists', (document) => {
  const problems = commandsOf(document).flatMap((line) => problemOf(line) ?? [])
  expect(problems).toEqual([])
})

test('the check would see a command, a flag and a script that do not exist', () => {
  expect(problemOf('npx holdfast migrat')).toBe('there is no command migrat')
  expect(problemOf('npx holdfast serve server.ts --prot 1')).toBe('holdfast serve has no --prot')
  expect(problemOf('npx holdfast api-keys create --subjct x')).toBe('holdfast api-keys has no --subjct')
  expect(problemOf('npx holdfast api-keys create --subject x')).toBeUndefined()
  expect(problemOf('npm run benhc')).toBe('there is no script benhc')
  expect(problemOf('npm run bench -- --onyl sdk2')).toBe('npm run bench has no --onyl')
  expect(problemOf('npm test -- --only types')).toBeUndefined()
  expect(commandsOf({ code: [{ language: 'sh', text: 'npm ci # all' }], spans: ['npm test'] })).toEqual([
    'npm ci',
    'npm test',
  ])
})
