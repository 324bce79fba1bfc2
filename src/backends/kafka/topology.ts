import type { Admin, ClusterMetadata } from '@platformatic/kafka'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { safeName } from '../broker/names.ts'
import type { KafkaClients } from './client.ts'
import type { KafkaAddress } from './url.ts'

const DEFAULT_PARTITIONS = 8
const DEFAULT_RETENTION_MS = 3_600_000
/** Dead letters are for people to look at. */
const DEAD_RETENTION_MS = 7 * 86_400_000
/** Together ten seconds: for a cluster that is busy. */
const KNOWN_ATTEMPTS = 50
const KNOWN_WAIT_MS = 200
/** A topic's name has 249 characters at most; shorter ones stay readable. */
const MAX_NAME = 200

/**
 * A topic for each queue, and a group of the same name. Listeners to different queues of one topic would have to read each
 * other's bells, or, in one group, would swallow them.
 */
export const topicName = ({ topic }: KafkaAddress, queue: string): string => `${topic}.${safeName(queue, MAX_NAME)}`
/** Of the topic for messages that came too often. */
export const deadName = ({ topic }: KafkaAddress): string => `${topic}-dead`

/**
 * Creates the topics that are not there, and checks the others.
 * @throws {HoldfastError} `backend_mismatch` with what differs.
 */
export async function declare(clients: KafkaClients, admin: Admin, queues: readonly string[]): Promise<void> {
  const { address } = clients
  const names = queues.map((queue) => topicName(address, queue))
  for (const name of names)
    await create(
      clients,
      admin,
      name,
      address.partitions ?? DEFAULT_PARTITIONS,
      address.retentionMs ?? DEFAULT_RETENTION_MS,
    )
  const dead = deadName(address)
  await create(clients, admin, dead, 1, DEAD_RETENTION_MS)
  await check(clients, admin, names, dead)
}

async function create(
  { address, library }: KafkaClients,
  admin: Admin,
  name: string,
  partitions: number,
  retentionMs: number,
): Promise<void> {
  const configs = [
    { name: 'cleanup.policy', value: 'delete' },
    { name: 'retention.ms', value: String(retentionMs) },
  ]
  try {
    await admin.createTopics({ topics: [name], partitions, replicas: address.replicas ?? -1, configs })
  } catch (error) {
    // A cluster may forbid to create topics, and have them all the same: the check says whether it has.
    for (const id of ['TOPIC_ALREADY_EXISTS', 'TOPIC_AUTHORIZATION_FAILED', 'CLUSTER_AUTHORIZATION_FAILED'])
      if (library.findErrorBy(error as Error, 'apiId', id) !== null) return
    throw error
  }
}

/** What brokers know of topics; one that was created a moment ago may not have reached the broker that is asked. */
async function known(admin: Admin, names: string[]): Promise<ClusterMetadata['topics']> {
  for (let attempt = 1; ; attempt++)
    try {
      return (await admin.metadata({ topics: names, forceUpdate: true })).topics
    } catch (error) {
      if (!isUnknownTopic(error) || attempt === KNOWN_ATTEMPTS) throw error
      await new Promise((resolve) => setTimeout(resolve, KNOWN_WAIT_MS))
    }
}

/** Whether the library complains of what it was asked for: with metadata, that is a topic that is not there. */
export const isUnknownTopic = (error: unknown): boolean => (error as { code?: string }).code === 'PLT_KFK_USER'

/** @param dead the topic for dead letters, which may have any number of partitions, and keep them as long as it likes */
async function check({ address, library }: KafkaClients, admin: Admin, names: string[], dead: string): Promise<void> {
  const differs = (name: string, what: string, is: unknown, must: string | number, remedy: string): never => {
    throw new HoldfastError(
      'backend_mismatch',
      `The Kafka topic ${JSON.stringify(name)} has ${what} ${String(is)}, and ${must} is needed: ${remedy}`,
    )
  }
  const all = [...names, dead]
  const topics = await known(admin, all)
  const described = await admin.describeConfigs({
    resources: all.map((resourceName) => ({
      resourceType: library.ConfigResourceTypes.TOPIC,
      resourceName,
      configurationKeys: ['cleanup.policy', 'retention.ms'],
    })),
  })
  for (const name of all) {
    const configs = described.find(({ resourceName }) => resourceName === name)?.configs ?? []
    const valueOf = (key: string): string | null | undefined => configs.find((config) => config.name === key)?.value
    const policy = valueOf('cleanup.policy')
    // A compacted topic keeps bells for ever, and takes no dead letter, which has no key.
    if (policy !== 'delete') differs(name, 'the cleanup policy', policy, 'delete', 'change the topic.')
    if (name === dead) continue
    const partitions = topics.get(name)?.partitionsCount
    if (address.partitions !== undefined && partitions !== address.partitions)
      differs(name, 'partitions:', partitions, address.partitions, 'change the topic, or the URL.')
    const retention = valueOf('retention.ms')
    if (address.retentionMs !== undefined && retention !== String(address.retentionMs))
      differs(name, 'retention.ms', retention, address.retentionMs, 'change the topic, or the URL.')
  }
}
