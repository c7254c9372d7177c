-- One row a key: what it stands for and where it is. Settled rows are small; only open ones keep their intent.
create table action (
    id bigint generated always as identity primary key,
    idempotency_key text not null unique,
    content_hash bytea not null,
    tenant text not null,
    subject_event_id text not null,
    effector text not null,
    state text not null,
    attempts integer not null default 0,
    looks integer not null default 0,
    doubt boolean not null default false,
    outcomes integer not null,
    next_at bigint,
    not_after bigint,
    revision integer not null default 0,
    started_at bigint not null,
    order_key text,
    intent bytea
) with (fillfactor = 90);
create index action_of_event on action (subject_event_id);
-- What the worker asks for, and which of them must wait for an earlier one about the same customer.
create index action_due on action (effector, next_at) where next_at is not null;
create index action_order on action (order_key, id) where next_at is not null;
create index action_open on action (state, id) where state in ('PENDING', 'ATTEMPTING', 'UNCERTAIN');

-- What was said, never changed. Refused contents of a key (sequence 0) are not part of its own sequence.
create table outcome (
    idempotency_key text not null,
    sequence integer not null,
    outcome_id text not null,
    value bytea not null,
    primary key (idempotency_key, outcome_id)
);

-- Contents that were refused because their key stood for another one; each is refused once.
create table refused_content (
    idempotency_key text not null,
    content_hash bytea not null,
    primary key (idempotency_key, content_hash)
);

-- Calls of effectors: begun before they are made, ended when their answer is known.
create table attempt (
    idempotency_key text not null,
    number integer not null,
    started_at bigint not null,
    ended_at bigint,
    result text,
    primary key (idempotency_key, number)
);

-- How much of the effect log is committed; what the file has beyond that was never said and is cut off.
create table effect_log (
    name text primary key,
    file integer not null,
    bytes bigint not null
);

-- Who calls effectors: one process at a time, numbered.
create table worker (
    single boolean primary key default true check (single),
    epoch bigint not null
);
insert into worker (epoch) values (0);
