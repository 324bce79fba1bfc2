// A server whose tools write and read artifacts of any size, in a process of its own: its memory is what is measured.
import { createHash } from 'node:crypto'
import * as z from 'zod'
import { createRuntime, defineServer, defineTool } from '../../../src/index.ts'

const block = Buffer.alloc(64 * 1024 + 13, 'an odd length, so that no block ends where another begins ')

const write = defineTool({
  name: 'write',
  description: 'Writes an artifact',
  input: z.object({ bytes: z.number() }),
  run: ({ bytes }, ctx) => {
    async function* blocks() {
      for (let left = bytes; left > 0; left -= block.length) yield left < block.length ? block.subarray(0, left) : block
    }
    return ctx.artifacts.put(blocks(), { name: 'big.bin' })
  },
})
const digest = defineTool({
  name: 'digest',
  description: 'Reads an artifact to its end',
  input: z.object({ uri: z.string() }),
  async run({ uri }, ctx) {
    const hash = createHash('sha256')
    for await (const piece of (await ctx.artifacts.get(uri))!.body) hash.update(piece)
    return hash.digest('hex')
  },
})
const memory = defineTool({
  name: 'memory',
  description: 'Bytes that the process has, and the most that it had since it began',
  run: () => ({ now: process.memoryUsage.rss(), most: process.resourceUsage().maxRSS * 1024 }),
})
const server = defineServer({ name: 'big', version: '1.0.0', tools: [write, digest, memory] })
const runtime = await createRuntime(server, { port: 0, maxArtifactReadBytes: 1, logLevel: 'error', logFd: 2 })
const { url } = await runtime.listen()
console.log(url)
