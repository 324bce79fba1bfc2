// All backends, by name. What is expected of them is data, read by the docs' test too; nothing starts here.
import type { Backend, BackendName } from '../backend.ts'
import { dynamodb } from './dynamodb.ts'
import { postgres } from './postgres.ts'
import { s3 } from './s3.ts'

/** Those that can be broken. */
export const BACKENDS: Readonly<Partial<Record<BackendName, Backend>>> = { postgres, dynamodb, s3 }
