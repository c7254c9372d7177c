-- One row a run: what READY said, how far the lane has acknowledged it, and what operators want of it.
-- next_row only advances behind acknowledged rows; lease_no numbers the instances that streamed it in turn.
create table stream_progress (
    tenant text not null,
    run_id text not null,
    ready jsonb not null,
    state text not null check (state in ('READY', 'STREAMING', 'COMPLETED', 'FAILED', 'CLOSED', 'SKIPPED')),
    reason text,
    plan_digest text,
    plan_uri text,
    next_row bigint not null default 0 check (next_row >= 0),
    total_rows bigint check (next_row <= total_rows),
    lease_no bigint not null default 0,
    owner text,
    paused boolean not null default false,
    speed double precision check (speed >= 0),
    policy_revision text,
    created timestamptz not null default now(),
    updated timestamptz not null default now(),
    primary key (tenant, run_id)
);

-- Commands of operators, by their idempotency key: a retried POST finds its first answer here.
create table stream_command (
    tenant text not null,
    idempotency_key text not null,
    run_id text not null,
    command jsonb not null,
    answer jsonb not null,
    policy_revision text not null,
    at timestamptz not null default now(),
    primary key (tenant, idempotency_key)
);
