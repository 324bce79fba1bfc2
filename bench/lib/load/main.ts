/** Entry of the load process: takes jobs over IPC, one at a time, and answers each with its result or its error. */
import { runLoad } from './generator.ts'
import type { LoadJob } from './generator.ts'
import { runOpenLoop } from './open-loop.ts'
import type { OpenLoopJob } from './open-loop.ts'
import { closeStreams, fanOut, openStreams } from './streams.ts'
import type { StreamJob } from './streams.ts'

/** What the load process can be told to do. */
export type LoadCommand =
  | { kind: 'load'; job: LoadJob }
  | { kind: 'open-loop'; job: OpenLoopJob }
  | { kind: 'open-streams'; job: StreamJob }
  | { kind: 'close-streams' }
  | { kind: 'fan-out'; job: { port: number; path: string } }

async function run(command: LoadCommand): Promise<unknown> {
  if (command.kind === 'load') return runLoad(command.job)
  if (command.kind === 'open-loop') return runOpenLoop(command.job)
  if (command.kind === 'fan-out') return fanOut(command.job)
  if (command.kind === 'open-streams') return openStreams(command.job)
  return closeStreams()
}

process.on('message', (command: LoadCommand) => {
  run(command).then(
    (result) => process.send!({ result }),
    (error: Error) => process.send!({ error: error.message }),
  )
})
// The terminal's Ctrl-C reaches the whole group; the parent decides when this process ends.
process.on('SIGINT', () => undefined)
process.on('disconnect', () => process.exit(0))
