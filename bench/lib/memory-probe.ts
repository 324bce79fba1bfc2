/**
 * Loaded into a server with `--import` and `--expose-gc` where memory is measured: answers the parent's question with
 * the figures after a forced collection. The server itself knows nothing of it.
 */
import { setTimeout as wait } from 'node:timers/promises'

const collect = (globalThis as { gc?: () => void }).gc
if (collect === undefined) throw new Error('the memory probe needs --expose-gc')

process.on('message', (question) => {
  if (question === 'bench:memory') void answer()
})
// The channel must not keep a server alive that would otherwise end.
process.channel?.unref()

async function answer(): Promise<void> {
  // Several rounds with pauses: finalizers and freed pages are settled by the event loop in between.
  for (let round = 0; round < 4; round += 1) {
    collect!()
    await wait(100)
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  process.send!({ rss, heapUsed, external })
}
