// A node of killed.test.ts: a cache on the store that its argument names, told by messages what to ask for.
import { appendFileSync } from 'node:fs'
import { openRedis } from '../../src/backends/redis/open.ts'
import { entry, TestNode } from './nodes.ts'

/** What a node is asked. */
export interface Asked {
  readonly key: string
  readonly callers: number
  /** Gets a line each time something is computed. */
  readonly file: string
  /** `undefined`: it never ends. */
  readonly workMs: number | undefined
  readonly maxFlightMs: number
  readonly tags?: readonly string[]
}
/** What became of it. */
export interface Answered {
  readonly values: readonly string[]
  readonly tookMs: number
  readonly unled: number
}

const shared = await openRedis(process.argv[2]!, { onUp: () => undefined, onDown: () => undefined })
const node = await TestNode.start(shared, { server: 'killed' })
process.on('disconnect', () => process.exit())
process.on('message', ({ key, callers, file, workMs, maxFlightMs, tags }: Asked) => {
  const fromMs = performance.now()
  const compute = async (): Promise<string> => {
    appendFileSync(file, `${process.pid}\n`)
    await new Promise((resolve) => workMs !== undefined && setTimeout(resolve, workMs))
    return `by ${process.pid}`
  }
  const asked = entry(key, { maxFlightMs, ...(tags && { tags }) })
  void Promise.all(Array.from({ length: callers }, () => node.get(asked, compute))).then((values) =>
    process.send!({
      values: [...new Set(values)],
      tookMs: performance.now() - fromMs,
      unled: node.told.of('unled'),
    } satisfies Answered),
  )
})
process.send!('ready')
