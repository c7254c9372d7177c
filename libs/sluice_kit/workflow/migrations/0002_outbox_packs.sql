-- A batch of events to one lane may stand in one row: so many `events` in `pack`, in order, without ids of their own.
alter table outbox
    alter column key drop not null,
    alter column value drop not null,
    alter column event_id drop not null,
    add column events integer not null default 1,
    add column pack bytea;
alter table outbox alter column pack set storage external; -- it is compressed already
