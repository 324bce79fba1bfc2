// Starts a server and waits to be killed: for the test that nothing outlives its owner.
import { startRedis } from './redis.ts'

const { process: server } = await startRedis()
console.log(JSON.stringify({ pid: server.pid, dir: server.dir }))
setInterval(() => undefined, 1000)
