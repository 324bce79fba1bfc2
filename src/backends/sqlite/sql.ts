import { ORDER_MOST_COUNTED, ORDER_MOST_MS, ORDER_STEP_MS } from '../sql/order.ts'
import { CLAIMED_COLUMNS, TASK_COLUMNS } from '../sql/row.ts'

/*
 * Statements, with named parameters: `$now` is the time of the transaction, `$..._ms` are durations, all in milliseconds.
 * A transaction has the database to itself, so each statement sees what the one before it has left.
 */

const columns = TASK_COLUMNS.join(', ')
const claimedColumns = CLAIMED_COLUMNS.join(', ')
const free = 'worker = null, lease_until = null'
const changed = 'version = version + 1, updated_at = $now'
const behind = `min(${ORDER_MOST_MS}, $before * ${ORDER_STEP_MS} / weight)`
const purge = 'purge_at = $now + retention_ms'

/** Of an owner in a queue: how many are ready or leased, as far as they are counted. `state < 3` is there for the index. */
export const COUNT_BUSY = `select count(*) as count from (
  select 1 from hf_task where queue = $queue and owner = $owner and state < 2 and state < 3 limit ${ORDER_MOST_COUNTED})`

export const FIND_CREATED = `select ${columns} from hf_task where id = $id and owner = $owner
  union all
  select ${columns} from hf_task where owner = $owner and tool = $tool and idempotency_key = $key and idempotency_key is not null
  limit 1`

export const INSERT_TASK = `insert into hf_task (id, owner, tool, queue, state, run_at, order_at, weight, max_attempts, max_crashes,
    fails_when_lost, is_attended, created_at, updated_at, expires_at, retention_ms, idempotency_key, args_digest, handler_revision, redrive_of, args, caller)
  values ($id, $owner, $tool, $queue, $state, $now + $delay_ms, $now + $delay_ms + min(${ORDER_MOST_MS}, $before * ${ORDER_STEP_MS} / $weight),
    $weight, $max_attempts, $max_crashes, $fails_when_lost, $is_attended, $now, $now, $now + $ttl_ms, $retention_ms, $key, $args_digest,
    $handler_revision, $redrive_of, $args, $caller)
  returning ${columns}`

export const GET_TASK = `select ${columns}, open_asks from hf_task where id = $id and owner = $owner`
export const FIND_TASK = `select ${columns}, open_asks from hf_task where id = $id`
export const OPEN_ASKS = `select name, request from hf_journal
  where task_id = $id and kind = 1 and answered_at is null order by seq`
export const READ_VERSION = 'select version from hf_task where id = $id'

export const CLAIMED_BEFORE = `select ${claimedColumns} from hf_task where worker = $worker and state = 1 and claim_token = $token`
/** `$revisions` is a JSON array. */
export const CANDIDATES = `select id, order_at from hf_task where state = 0 and queue = $queue and tool = $tool
  and (handler_revision is null or handler_revision in (select value from json_each($revisions)))
  and (expires_at is null or expires_at > $now) order by order_at limit $limit`
export const CLAIM_TASK = `update hf_task set state = 1, fence = fence + 1, worker = $worker, claim_token = $token,
  lease_until = $now + $lease_ms, journal_mark = journal_length where id = $id returning ${claimedColumns}`
export const READ_JOURNAL =
  'select task_id, name, kind, request, value from hf_journal where task_id = $id order by seq'

export const RENEW_LEASE = `update hf_task set lease_until = $now + $lease_ms, status_message = coalesce($message, status_message),
    version = version + ($message is not null and $message is not status_message),
    updated_at = case when $message is not null and $message is not status_message then $now else updated_at end
  where id = $id and fence = $fence and state = 1
  returning id, fence, (cancel_at is not null or (expires_at is not null and expires_at <= $now)) as cancel`
export const FINISH_TASK = `update hf_task set state = $state, result = $result, error = $error, dead = $dead, artifacts = $artifacts,
    status_message = coalesce($message, status_message), done_fence = fence, ${free}, ${changed}, ${purge} where id = $id and fence = $fence and state = 1 returning id`
/** For what is held, and to be cancelled. */
export const END_CANCELLED = `update hf_task set state = 5, done_fence = fence, ${free}, ${changed}, ${purge}
  where id = $id and fence = $fence and state = 1 and cancel_at is not null returning id`
export const RELEASE_TASK = `update hf_task set state = 0, run_at = $now, ${free}
  where id = $id and fence = $fence and state = 1 returning id`
export const RETRY_TASK = `update hf_task set state = 2, run_at = $now + $delay_ms, attempts = attempts + 1,
    status_message = coalesce($message, status_message), ${free}, ${changed}
  where id = $id and fence = $fence and state = 1 returning id`

export const HELD = 'select journal_length, cancel_at from hf_task where id = $id and fence = $fence and state = 1'
export const ENTRY_EXISTS = 'select 1 from hf_journal where task_id = $id and name = $name'
export const LENGTHEN_JOURNAL = `update hf_task set journal_length = journal_length + 1, lease_until = $now + $lease_ms where id = $id`
export const RECORD_ENTRY = `insert into hf_journal (task_id, name, seq, kind, fence, request, value, artifacts, recorded_at)
  values ($id, $name, $seq, $kind, $fence, $request, $value, $artifacts, $now)`
export const PARK_TASK = `update hf_task set state = 2, run_at = $now + $wake_ms, open_asks = $asks,
    journal_length = journal_length + $asks, status_message = coalesce($message, status_message), ${free}, ${changed} where id = $id`

export const ANSWERABLE = 'select state, queue, open_asks from hf_task where id = $id and owner = $owner'
export const ANSWER_ASK = `update hf_journal set value = $value, answered_at = $now
  where task_id = $id and name = $name and kind = 1 and answered_at is null returning name`
export const COUNT_ANSWERS = `update hf_task set open_asks = open_asks - $count, ${changed} where id = $id returning open_asks`
export const MAKE_READY = `update hf_task set state = 0, run_at = coalesce($run_at, run_at), order_at = $now + ${behind} where id = $id`
/** Answers whatever is open. */
export const ANSWER_ALL = `update hf_journal set value = $value, answered_at = $now
  where task_id = $id and kind = 1 and answered_at is null`
export const FORGET_ASKS = `update hf_task set open_asks = 0, ${changed} where id = $id returning version`
export const ATTEND = 'update hf_task set expires_at = $now + $ttl_ms where id = $id and is_attended = 1 and state < 3'

export const CANCELLABLE = 'select state, crashes from hf_task where id = $id and owner = $owner'
export const SIGNAL_CANCEL = 'update hf_task set cancel_at = coalesce(cancel_at, $now) where id = $id'
/** An end that no claim has written takes a fence of its own, so that a late holder cannot pass for its author. */
export const END_UNHELD = `update hf_task set state = $state, error = $error, dead = $dead, crashes = $crashes,
    fence = fence + 1, done_fence = fence + 1, ${free}, ${changed}, ${purge} where id = $id returning version`

/** What a sweep has to know of a row. */
const late =
  'id, queue, owner, state, cancel_at, fails_when_lost, is_attended, crashes, max_crashes, journal_length, journal_mark'
export const EXPIRED = `select ${late} from hf_task where state < 3 and expires_at is not null and expires_at <= $now
  and (state <> 1 or lease_until <= $now) and ($spares = 0 or (state <> 1 and is_attended = 0)) order by expires_at limit $limit`
export const LOST = `select ${late} from hf_task where state = 1 and lease_until <= $now limit $limit`
export const PARK_LOST = `update hf_task set state = 2, crashes = $crashes, run_at = $now + $delay_ms, ${free}, ${changed}
  where id = $id returning version`
export const DUE = `select id, queue, owner, open_asks from hf_task where state = 2 and run_at <= $now order by run_at limit $limit`
export const NEXT_PLACE = `select queue, tool from hf_task where state = 0 and (queue, tool) > ($queue, $tool)
  order by queue, tool limit 1`
export const OVERDUE = `select id from hf_task where state = 0 and queue = $queue and tool = $tool and order_at <= $before
  order by order_at limit $limit`
export const PURGE = `delete from hf_task where id in (
  select id from hf_task where state > 2 and purge_at <= $now order by purge_at limit $limit) returning id`

export const IS_OVER = `select count(*) > $bound as over from (
  select 1 from hf_task where state = 0 and queue = $queue limit $bound + 1)`
/** In the index alone. */
export const BACKLOG = `select count(*) filter (where state = 0) as ready, count(*) filter (where state = 1) as leased,
    count(*) filter (where state = 2) as parked from hf_task where queue = $queue and state < 3`
export const NAMED_ARTIFACTS = `select named.value as key from hf_task t, json_each(t.artifacts) named where t.id = $id
  union all select named.value from hf_journal j, json_each(j.artifacts) named where j.task_id = $id`
export const NEXT_TOOL = `select tool from hf_task where state = 0 and queue = $queue and tool > $tool order by tool limit 1`
export const FIRST_READY = `select run_at from hf_task where state = 0 and queue = $queue and tool = $tool order by order_at limit 1`
export const DEAD_LETTER = `select owner, tool, queue, weight, max_attempts, max_crashes, fails_when_lost, 0 as is_attended,
    case when is_attended = 0 then expires_at - created_at end as ttl_ms, retention_ms, args_digest, handler_revision, args, caller from hf_task where id = $id and dead is not null`
export const FIND_REDRIVEN = `select ${columns}, open_asks from hf_task where id = $new_id and redrive_of = $id`
export const listTasks = (conditions: readonly string[], limit: string): string =>
  `select ${columns}, open_asks from hf_task where ${conditions.join(' and ')} order by created_at desc, id desc limit ${limit}`
