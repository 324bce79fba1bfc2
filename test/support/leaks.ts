import { afterAll, expect } from 'vitest'

/**
 * Every test file fails that leaves something open: a listening server, a socket, a child process, a worker. Rejections that
 * nobody handles fail the run by vitest's own hand.
 */
const LEAKS = ['TCPServerWrap', 'TCPSocketWrap', 'ProcessWrap', 'Worker', 'FSEventWrap']
const before = new Map<string, number>()
for (const resource of process.getActiveResourcesInfo()) before.set(resource, (before.get(resource) ?? 0) + 1)

afterAll(async () => {
  // Closed sockets need a turn or more of the event loop to be gone.
  let leaked: string[] = []
  for (let turn = 0; turn < 50; turn++) {
    await new Promise((resolve) => setImmediate(resolve))
    const seen = new Map(before)
    leaked = process.getActiveResourcesInfo().filter((resource) => {
      if (!LEAKS.includes(resource)) return false
      const known = seen.get(resource) ?? 0
      seen.set(resource, known - 1)
      return known <= 0
    })
    if (leaked.length === 0) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  expect(leaked, 'this test file left these open').toEqual([])
})
