-- Outcomes of what is settled in the transaction that takes it: a batch of them in one row, compressed. An action says
-- which pack has its (only) outcome, and at which place; `outcome` keeps those that come later.
create table outcome_pack (
    id bigint generated always as identity primary key,
    taken_at bigint not null,
    pack bytea not null
);
alter table outcome_pack alter column pack set storage external; -- it is compressed already
create index outcome_pack_age on outcome_pack (taken_at);

-- Keys and ids are compared as bytes, and payments are found by a short hash of their id: each index entry is
-- made in the transaction that takes the action.
drop index action_of_event;
alter table action
    alter column idempotency_key type text collate "C",
    alter column subject_event_id type text collate "C",
    add column pack bigint,
    add column place integer;
create index action_of_event on action (hashtextextended(subject_event_id, 0));
