/**
 * Keys of the state store and channels of the event bus, all of them. A part in braces names what must lie together.
 */

/** What nodes share of a session. The channel of the same name tells of changes of it, and of the owner of its stream. */
export const sessionKey = (sid: string): string => `session:{${sid}}`
/** The log of a stream of a session; also the channel on which its runner rings. */
export const streamKey = (sid: string, streamId: string): string => `stream:{${sid}}:${streamId}`
/** Which task the call of a stream waits for, and on which node. */
export const waitingKey = (sid: string, streamId: string): string => `waiting:{${sid}}:${streamId}`
/** Stands while a node runs streams. */
export const presenceKey = (nodeId: string): string => `node:${nodeId}`
/** The claim and the outcome of an idempotency key, by its hash; also the channel that tells of the outcome. */
export const idempotencyKey = (hash: string): string => `idempotency:${hash}`
/** What a call has recorded, where it is too much to travel. */
export const journalKey = (handle: string): string => `journal:${handle}`
/** The claim and the outcome of one leg of a call that asks; also the channel that tells of the outcome. */
export const legKey = (id: string): string => `leg:${id}`
/** A client's answer to a request of the server, in a 2025 session. */
export const answerKey = (sid: string, requestId: string): string => `answer:{${sid}}:${requestId}`
/** The bucket of a limit that belongs to a tenant (`tag`), or to one of its principals (`subject`). */
export const limitKey = (tag: string, limit: string, subject: string): string => `limit:{${tag}}:${limit}:${subject}`
/** What the bucket of a global limit has in braces: each lies where it falls. */
export const globalLimitTag = (limit: string): string => `global:${limit}`
/** A cached value, by the digest of all that it is named by. */
export const cacheValueKey = (digest: string): string => `cache:value:${digest}`
/** The generation of a tag of cached values. */
export const cacheTagKey = (digest: string): string => `cache:tag:${digest}`
/** Stands while a node computes a value. */
export const cacheFlightKey = (flight: string): string => `cache:flight:${flight}`

/** What a node is told in person. */
export const inboxChannel = (nodeId: string): string => `inbox:${nodeId}`
/** Updates of a resource. */
export const resourceChannel = (uri: string): string => `resource:${uri}`
/** Changes of the lists. */
export const LISTS_CHANNEL = 'changes'
/** Nodes and workers announce themselves. */
export const MEMBERS_CHANNEL = 'members'
/** Breakers that have opened. */
export const BREAKERS_CHANNEL = 'breakers'
/** Changes of a task, and how far it is. */
export const taskChannel = (id: string): string => `task:${id}`
/** Tasks that some worker has to stop. */
export const TASK_CANCEL_CHANNEL = 'task-cancels'
/** Which tasks have changed, for who follows all of them. */
export const TASK_EVENTS_CHANNEL = 'task-events'
/** What was invalidated in the cache, and what was computed. */
export const CACHE_CHANNEL = 'cache'
/** Requests that some node may have to cancel. */
export const CANCEL_CHANNEL = 'cancel'
