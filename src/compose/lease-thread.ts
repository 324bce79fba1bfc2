// Module of the thread that keeps leases.
import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../ports/clock.ts'
import { serveLeases, type LeaseThreadData } from '../tasks/lease-thread.ts'
import { openTaskStore } from './task-store.ts'

await serveLeases(parentPort!, workerData as LeaseThreadData, (url) => openTaskStore(url, systemClock))
