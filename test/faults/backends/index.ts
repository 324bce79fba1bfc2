// All backends, by name. What is expected of them is data, read by the docs' test too; nothing starts here.
import type { Backend, BackendName } from '../backend.ts'
import { dynamodb } from './dynamodb.ts'
import { kafka } from './kafka.ts'
import { postgres } from './postgres.ts'
import { rabbitmq } from './rabbitmq.ts'
import { redis } from './redis.ts'
import { s3 } from './s3.ts'
import { sqs } from './sqs.ts'

/** Those that can be broken. */
export const BACKENDS: Readonly<Record<BackendName, Backend>> = { redis, postgres, dynamodb, s3, rabbitmq, kafka, sqs }
