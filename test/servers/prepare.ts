// `node test/servers/prepare.ts`: has every program that the tests need, all at once, and says where each came from. What is
// missing fails by name here, before any suite runs.
import { parseArgs } from 'node:util'
import { PROGRAMS, type ProgramName } from './catalog.ts'
import { have } from './programs.ts'

const { values } = parseArgs({ options: { help: { type: 'boolean', short: 'h', default: false } } })
if (values.help) {
  console.log(`Installs what the tests need to run real servers: ${Object.keys(PROGRAMS).join(', ')}.

Variables:
  TEST_CACHE_DIR     where downloads and builds are kept (default: holdfast-test in the user's cache)
  TEST_NO_INSTALL=1  install nothing; fail by name where something is missing
  TEST_…_URL         use this server in place of one of the run's own`)
  process.exit(0)
}

const results = await Promise.all(
  (Object.keys(PROGRAMS) as ProgramName[]).map(async (name) => {
    try {
      console.log(`READY ${name}: ${(await have(PROGRAMS[name])).origin}`)
      return true
    } catch (error) {
      console.log(`FAILED ${(error as Error).message}`)
      return false
    }
  }),
)
const passed = results.filter(Boolean).length
console.log(`servers: ${passed} passed, ${results.length - passed} failed`)
process.exitCode = passed === results.length ? 0 : 1
