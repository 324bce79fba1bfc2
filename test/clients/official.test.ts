import { testOfficialClients } from './official-suite.ts'
import { FIXTURE, withServer } from './with-server.ts'

const server = withServer()

testOfficialClients(['http', 'stdio'], (transport) =>
  transport === 'http' ? { transport, url: server.url } : { transport, definition: FIXTURE, cwd: server.dir },
)
