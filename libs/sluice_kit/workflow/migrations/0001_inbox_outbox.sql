-- The position of each input partition is stored with the effects of the records before it (the inbox).
create table inbox_position (
    service text not null,
    topic text not null,
    partition integer not null,
    next_offset bigint not null check (next_offset >= 0),
    primary key (service, topic, partition)
);

-- What a transaction wants to say leaves with it or not at all; a relay sends the rows in order of id.
create table outbox (
    id bigint generated always as identity primary key,
    lane text not null,
    key bytea not null,
    value bytea not null,
    event_id text not null unique,
    created timestamptz not null default now()
);
