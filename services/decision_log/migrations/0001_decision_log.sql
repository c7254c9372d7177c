-- Who writes the log: each writer takes the next number, and the seals of older ones are refused.
create table log_writer (
    log text primary key,
    epoch bigint not null,
    owner text not null,
    since timestamptz not null default now()
);

-- Sealed segments; their records are the leaves from first_leaf on.
create table segment (
    first_leaf bigint primary key check (first_leaf >= 0),
    records bigint not null check (records > 0),
    locator jsonb not null,
    incomplete bigint not null,
    corrections bigint not null,
    epoch bigint not null,
    sealed timestamptz not null default now()
);

-- The signed head that each seal made, as SignedHead.to_fields gives it.
create table head (
    size bigint primary key,
    fields jsonb not null
);

-- Where the records of a payment are. chain_key: 16 bytes of sha256(event_id), 8 of sha256(tenant NUL run_id); of
-- several leaves with one key the highest is the current record. The last columns are what a record does not hold:
-- where its snapshot stands, and the snapshot that its decision used and that was not there.
create table record_index (
    chain_key bytea not null,
    leaf bigint not null,
    snapshot_partition integer,
    snapshot_offset bigint,
    awaits_snapshot bytea
);

create index record_index_by_chain on record_index (chain_key, leaf);
