// graphile-worker as its page "Performance" tunes it: jobs fetched in batches into a local queue, completions batched.
import { Logger, makeWorkerUtils, run } from 'graphile-worker'
import pg from 'pg'

const quiet = new Logger(() => () => {})

export async function prepare({ url }) {
  const utils = await makeWorkerUtils({ connectionString: url, logger: quiet })
  await utils.migrate()
  await utils.release()
}

/** A job that has ended well is deleted. */
export async function probe({ url }) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return {
    unfinished: async () =>
      (await client.query('select count(*)::int as count from graphile_worker._private_jobs')).rows[0].count,
    close: () => client.end(),
  }
}

export async function producer({ url, payloadBytes }) {
  const utils = await makeWorkerUtils({ connectionString: url, maxPoolSize: 10, logger: quiet })
  const text = 'x'.repeat(payloadBytes)
  return {
    create: async (key) => {
      await utils.addJob('noop', { key, text })
    },
    fill: async (keys) => {
      await utils.addJobs(keys.map((key) => ({ identifier: 'noop', payload: { key, text } })))
    },
    close: () => utils.release(),
  }
}

export async function consumer({ url, concurrency }, hooks) {
  const runner = await run({
    preset: {
      worker: {
        connectionString: url,
        maxPoolSize: 10,
        concurrentJobs: concurrency,
        localQueue: { size: concurrency + 1 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
        logger: quiet,
      },
    },
    noHandleSignals: true,
    taskList: {
      noop: async ({ key }) => {
        hooks.entered(key)
        await hooks.hold()
      },
    },
  })
  return { close: () => runner.stop() }
}
