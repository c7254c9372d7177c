-- An index of the run ledger, which is artifacts: `rebuild` makes these tables from it at any time.
create table run (
    run_id text primary key,
    tenant text not null,
    equivalence_key text not null unique,
    state text not null,
    revision integer not null,
    at_utc bigint not null,
    submitted_at_utc bigint not null,
    plan jsonb not null,
    plan_ref jsonb not null,
    status jsonb not null,
    status_ref jsonb not null,
    lease_owner text,
    lease_until timestamptz
);
create index run_by_time on run (tenant, submitted_at_utc desc, run_id);
create index run_unsettled on run (submitted_at_utc) where state in ('PLANNED', 'VERIFYING');

-- Which request an Idempotency-Key stood for.
create table submission (
    tenant text not null,
    idempotency_key text not null,
    request_digest text not null,
    run_id text not null,
    primary key (tenant, idempotency_key)
);

-- What control.run says about runs; a projection of the topic.
create table admission (
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    tenant text not null,
    run_id text not null,
    event_id text not null,
    event_type text not null,
    payload jsonb not null,
    primary key (topic, partition, "offset")
);
create index admission_by_run on admission (run_id);
