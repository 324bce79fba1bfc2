/** A step of the schema. Once released it is never edited: what is to change comes as the next one. */
export interface Migration {
  readonly number: number
  readonly name: string
  /** Whether code that does not know it must stop. */
  readonly isBreaking: boolean
  readonly sql: string
}

/** All of them, in order. The tables are those of Postgres; times are whole epoch milliseconds. */
export const MIGRATIONS: readonly Migration[] = [
  {
    number: 1,
    name: 'tasks',
    isBreaking: false,
    sql: `
create table hf_task (
  id text primary key,
  owner text not null,
  tool text not null,
  queue text not null,
  state integer not null check (state between 0 and 5),
  run_at integer not null,
  order_at real not null,
  weight real not null check (weight > 0),
  fence integer not null default 0,
  done_fence integer,
  worker text,
  claim_token text,
  lease_until integer,
  attempts integer not null default 0,
  max_attempts integer not null,
  crashes integer not null default 0,
  max_crashes integer not null,
  journal_length integer not null default 0,
  journal_mark integer not null default 0,
  open_asks integer not null default 0,
  cancel_at integer,
  fails_when_lost integer not null,
  is_attended integer not null,
  version integer not null default 1,
  status_message text,
  dead text,
  created_at integer not null,
  updated_at integer not null,
  expires_at integer,
  retention_ms integer not null,
  purge_at integer,
  idempotency_key blob,
  args_digest blob not null,
  handler_revision text,
  redrive_of text,
  args blob not null,
  caller blob not null,
  result blob,
  error blob,
  artifacts text,
  check ((state = 1) = (worker is not null and lease_until is not null)),
  check ((state > 2) = (done_fence is not null and purge_at is not null))
) strict;

create index hf_task_ready on hf_task (queue, tool, order_at) where state = 0;
create index hf_task_leased on hf_task (worker) where state = 1;
create index hf_task_waking on hf_task (run_at) where state = 2;
create index hf_task_expiring on hf_task (expires_at) where state < 3 and expires_at is not null;
create index hf_task_purging on hf_task (purge_at) where state > 2;
create index hf_task_open on hf_task (queue, owner, state) where state < 3;
create unique index hf_task_key on hf_task (owner, tool, idempotency_key) where idempotency_key is not null;
create index hf_task_created on hf_task (created_at, id);
create index hf_task_dead on hf_task (created_at, id) where dead is not null;

create table hf_journal (
  task_id text not null references hf_task on delete cascade,
  name text not null,
  seq integer not null,
  kind integer not null check (kind in (0, 1)),
  fence integer not null,
  request blob,
  value blob,
  artifacts text,
  recorded_at integer not null,
  answered_at integer,
  primary key (task_id, name)
) strict, without rowid;
`,
  },
]
